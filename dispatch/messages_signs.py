"""How the signs that detection weighs read, in Korean and English: tables only."""

from __future__ import annotations

from dispatch.messages_words import Pair, Words


def _drift(korean: str, english: str) -> dict[str, Words]:
    """One vital's slow change; ``{measured}`` and ``{usually}`` carry its unit."""
    return {
        "ko": Words(korean, "", ("{measured}", "평소 {usually}", "{duration_s} 동안 계속", "{age_s} 전 측정")),
        "en": Words(english, "", ("{measured}", "usually {usually}", "for {duration_s}", "measured {age_s} ago")),
    }


def _pressure(korean: str, english: str) -> dict[str, Words]:
    """Pressure measured by hand; ``{worst}`` names which of the two it is."""
    return {
        "ko": Words(f"혈압이 {korean}", f"{{worst}}이 {korean}", ("{measured}", "평소 {usually}", "{age_s} 전 측정")),
        "en": Words(
            f"Blood pressure is {english}",
            f"The {{worst}} is {english}",
            ("{measured}", "usually {usually}", "measured {age_s} ago"),
        ),
    }


SIGNS: dict[str, dict[str, Words]] = {
    "fall_suspected": {
        "ko": Words("넘어진 것 같습니다", "", ("{age_s} 전",)),
        "en": Words("There seems to have been a fall", "", ("{age_s} ago",)),
    },
    "fall_still": {
        "ko": Words("넘어진 뒤 움직임이 없습니다", "넘어진 뒤 {still_s} 동안 움직임이 없습니다", ("{age_s} 전",)),
        "en": Words(
            "A fall, and no movement since", "A fall, and no movement for {still_s} after it", ("{age_s} ago",)
        ),
    },
    "asystole": _drift("심장 박동이 잡히지 않습니다", "No heartbeat is found"),
    "ventricular_fibrillation": _drift(
        "심장이 위험하게 떨고 있습니다. 심실세동일 수 있습니다",
        "The heart is quivering, possibly ventricular fibrillation",
    ),
    "ventricular_tachycardia": _drift(
        "심장이 위험하게 빨리 뜁니다. 심실빈맥일 수 있습니다",
        "The heart is racing, possibly ventricular tachycardia",
    ),
    "atrial_fibrillation": _drift(
        "맥박이 불규칙합니다. 심방세동일 수 있으니 의사에게 보여 주시는 것이 좋습니다",
        "The pulse is irregular, possibly atrial fibrillation: worth showing to a doctor",
    ),
    "bradycardia": _drift("심장이 느리게 뜁니다", "The heart beats slowly"),
    "tachycardia": _drift("심장이 빠르게 뜁니다", "The heart beats fast"),
    "pause": {
        "ko": Words(
            "심장 박동이 잠시 멈춘 것으로 보입니다",
            "심장 박동이 {measured} 동안 멈춘 것으로 보입니다",
            ("{age_s} 전 측정",),
        ),
        "en": Words(
            "The heartbeat seems to have paused",
            "The heartbeat seems to have paused for {measured}",
            ("measured {age_s} ago",),
        ),
    },
    "heart_rate_drift_up": _drift("쉴 때 심박수가 평소보다 높아졌습니다", "Resting heart rate has risen"),
    "heart_rate_drift_down": _drift("쉴 때 심박수가 평소보다 낮아졌습니다", "Resting heart rate has fallen"),
    "breathing_drift_up": _drift("호흡이 평소보다 빨라졌습니다", "Breathing has become faster"),
    "breathing_drift_down": _drift("호흡이 평소보다 느려졌습니다", "Breathing has become slower"),
    "spo2_drift_up": _drift("혈중 산소가 평소보다 높아졌습니다", "Blood oxygen has risen"),
    "spo2_drift_down": _drift("혈중 산소가 평소보다 낮아졌습니다", "Blood oxygen has fallen"),
    "temperature_drift_up": _drift("체온이 평소보다 높아졌습니다", "Temperature has risen"),
    "temperature_drift_down": _drift("체온이 평소보다 낮아졌습니다", "Temperature has fallen"),
    "pressure_drift_up": _drift("수축기 혈압이 평소보다 높아졌습니다", "Systolic pressure has risen"),
    "pressure_drift_down": _drift("수축기 혈압이 평소보다 낮아졌습니다", "Systolic pressure has fallen"),
    "activity_drift_up": _drift("평소보다 많이 움직입니다", "More activity than usual"),
    "activity_drift_down": _drift("평소보다 적게 움직입니다", "Less activity than usual"),
    "deterioration_likely": {
        "ko": Words(
            "여러 측정값이 함께 나빠지고 있습니다",
            "",
            ("가장 나쁜 항목: {worst_at}", "평소 {usually}", "{duration_s} 동안 계속", "{age_s} 전 측정"),
        ),
        "en": Words(
            "Several readings are getting worse together",
            "",
            ("worst: {worst_at}", "usually {usually}", "for {duration_s}", "measured {age_s} ago"),
        ),
    },
    "person_silent": {
        "ko": Words(
            "집에서 움직임이 없습니다",
            "집에서 {age_s}째 움직임이 없습니다",
            (
                "평소 이 시간에는 {usual_s} 안에 움직임",
                "마지막 장소: {last_place}",
                "돌아온다고 한 때가 지남{did_not_return}",
            ),
        ),
        "en": Words(
            "No movement at home",
            "No movement at home for {age_s}",
            (
                "usually something within {usual_s} at this hour",
                "last place: {last_place}",
                "the announced return is past{did_not_return}",
            ),
        ),
    },
    "blood_pressure_high": _pressure("높습니다", "high"),
    "blood_pressure_low": _pressure("낮습니다", "low"),
    "pulse_high": _drift("직접 잰 맥박이 빠릅니다", "The pulse taken at home is fast"),
    "pulse_low": _drift("직접 잰 맥박이 느립니다", "The pulse taken at home is slow"),
    "area_silent": {
        "ko": Words(
            "여러 기기의 신호가 한꺼번에 끊겼습니다",
            "기기 {of}대 가운데 {silent}대의 신호가 한꺼번에 끊겼습니다",
            ("{cause}", "지역 {area}", "평소에는 {usual}대", "확인할 분 목록이 있습니다"),
        ),
        "en": Words(
            "Many devices fell silent together",
            "{silent} of {of} devices fell silent together",
            ("{cause}", "area {area}", "usually {usual}", "there is a list of whom to check"),
        ),
    },
}

PLACES: dict[str, Pair] = {
    "front_door": {"ko": "현관", "en": "front door"},
    "door": {"ko": "현관", "en": "front door"},
    "bed": {"ko": "침실", "en": "bedroom"},
    "bedroom": {"ko": "침실", "en": "bedroom"},
    "bathroom": {"ko": "욕실", "en": "bathroom"},
    "kitchen": {"ko": "부엌", "en": "kitchen"},
    "lounge": {"ko": "거실", "en": "living room"},
    "hallway": {"ko": "복도", "en": "hallway"},
    "other": {"ko": "집 안", "en": "in the home"},
}
"""Places that home sensors name; one without a word is left unsaid."""

_BEATS: Pair = {"ko": "분당 {n}회", "en": "{n} a minute"}
MEASURES: dict[str, Pair] = {
    "heart_rate_bpm": _BEATS,
    "pulse_rate_bpm": _BEATS,
    "respiratory_rate_bpm": _BEATS,
    "spo2_pct": {"ko": "{n}%", "en": "{n}%"},
    "temperature_c": {"ko": "{n}도", "en": "{n} °C"},
    "systolic_mmhg": {"ko": "{n} mmHg", "en": "{n} mmHg"},
    "diastolic_mmhg": {"ko": "{n} mmHg", "en": "{n} mmHg"},
    "steps": {"ko": "한 시간에 {n}걸음", "en": "{n} steps an hour"},
    "seconds": {"ko": "{n}초", "en": "{n} seconds"},
}
"""How a number reads with its unit."""
_SHORT_BEATS: Pair = {"ko": "{n}회", "en": "{n}"}
SHORTLY: dict[str, Pair] = {
    "heart_rate_bpm": _SHORT_BEATS,
    "pulse_rate_bpm": _SHORT_BEATS,
    "respiratory_rate_bpm": _SHORT_BEATS,
    "steps": {"ko": "{n}걸음", "en": "{n}"},
}
"""How the usual number reads behind the first: by what unit has just been said."""
MEASURED_IN: dict[str, str] = {
    "atrial_fibrillation": "heart_rate_bpm",
    "ventricular_tachycardia": "heart_rate_bpm",
    "bradycardia": "heart_rate_bpm",
    "tachycardia": "heart_rate_bpm",
    "pause": "seconds",
    "heart_rate_drift_up": "heart_rate_bpm",
    "heart_rate_drift_down": "heart_rate_bpm",
    "breathing_drift_up": "respiratory_rate_bpm",
    "breathing_drift_down": "respiratory_rate_bpm",
    "spo2_drift_up": "spo2_pct",
    "spo2_drift_down": "spo2_pct",
    "temperature_drift_up": "temperature_c",
    "temperature_drift_down": "temperature_c",
    "pressure_drift_up": "systolic_mmhg",
    "pressure_drift_down": "systolic_mmhg",
    "activity_drift_up": "steps",
    "activity_drift_down": "steps",
    "blood_pressure_high": "systolic_mmhg",
    "blood_pressure_low": "systolic_mmhg",
    "pulse_high": "pulse_rate_bpm",
    "pulse_low": "pulse_rate_bpm",
    "spo2_low": "spo2_pct",
    "heart_rate_high": "heart_rate_bpm",
    "heart_rate_low": "heart_rate_bpm",
}
"""What a sign's value is a value of; a sign that is not here names it itself (``worst``)."""
FINE = frozenset({"temperature_c", "seconds"})
"""Measures read with one decimal; the others in whole numbers."""
MORE_VITALS: dict[str, Pair] = {
    "consciousness": {"ko": "의식", "en": "consciousness"},
    "on_oxygen": {"ko": "산소 투여", "en": "extra oxygen"},
}
"""Things that a score counts beside what a device measures."""

CAUSES: dict[str, Pair] = {
    "our_outage": {
        "ko": "저희 쪽 장애로 보여 기기 소식이 늦을 수 있습니다",
        "en": "the fault seems to be ours, so reports may come late",
    },
    "network": {
        "ko": "통신이 끊긴 것으로 보여 기기 소식이 늦고, 보이는 값은 오래된 것일 수 있습니다",
        "en": "the network seems to be down, so reports come late and values may be old",
    },
    "flat": {"ko": "배터리가 다 된 것으로 보입니다", "en": "the battery seems to be flat"},
    "charging": {"ko": "충전하느라 빼 두신 것으로 보입니다", "en": "it seems to be on its charger"},
    "not_worn": {"ko": "기기를 빼 두신 것으로 보입니다", "en": "it had been taken off"},
    "out_of_range": {
        "ko": "기기가 집 안 장치에서 멀리 떨어진 것으로 보입니다",
        "en": "it seems to be out of reach of the home's other device",
    },
    "unknown": {"ko": "까닭은 알 수 없습니다", "en": "the cause is not known"},
}
"""Why nothing comes from a device, and what that means for whoever reads it."""
