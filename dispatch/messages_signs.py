"""How the signs that detection weighs read, in Korean and English: tables only."""

from __future__ import annotations

from dispatch.messages_words import Pair, Words


def _drift(korean: str, english: str, unit_ko: str, unit_en: str) -> dict[str, Words]:
    """One vital's slow change; ``{value}`` and ``{usual}`` carry its unit."""
    return {
        "ko": Words(korean, f"{korean}: {{value}}{unit_ko}", (f"평소 {{usual}}{unit_ko}", "{duration_s} 동안 계속")),
        "en": Words(english, f"{english}: {{value}}{unit_en}", (f"usually {{usual}}{unit_en}", "for {duration_s}")),
    }


SIGNS: dict[str, dict[str, Words]] = {
    "fall_suspected": {
        "ko": Words("넘어진 것으로 보입니다", "", ("{age_s} 전",)),
        "en": Words("A fall was detected", "", ("{age_s} ago",)),
    },
    "fall_still": {
        "ko": Words("넘어진 뒤 움직임이 없습니다", "넘어진 뒤 {still_s} 동안 움직임이 없습니다", ("{age_s} 전",)),
        "en": Words(
            "A fall, and no movement since", "A fall, and no movement for {still_s} after it", ("{age_s} ago",)
        ),
    },
    "atrial_fibrillation": {
        "ko": Words(
            "맥박이 불규칙합니다. 심방세동일 수 있습니다",
            "",
            ("분당 {value}회", "평소 {usual}회", "{duration_s} 동안 계속", "{age_s} 전 측정"),
        ),
        "en": Words(
            "The pulse is irregular, possibly atrial fibrillation",
            "",
            ("{value} a minute", "usually {usual}", "for {duration_s}", "measured {age_s} ago"),
        ),
    },
    "bradycardia": {
        "ko": Words("심장이 느리게 뜁니다", "심장이 분당 {value}회로 느리게 뜁니다", ("{duration_s} 동안 계속",)),
        "en": Words("The heart beats slowly", "The heart beats slowly, {value} a minute", ("for {duration_s}",)),
    },
    "tachycardia": {
        "ko": Words("심장이 빠르게 뜁니다", "심장이 분당 {value}회로 빠르게 뜁니다", ("{duration_s} 동안 계속",)),
        "en": Words("The heart beats fast", "The heart beats fast, {value} a minute", ("for {duration_s}",)),
    },
    "pause": {
        "ko": Words("심장 박동이 잠시 멈춘 것으로 보입니다", "심장 박동이 {duration_s} 동안 멈춘 것으로 보입니다"),
        "en": Words("The heartbeat seems to have paused", "The heartbeat seems to have paused for {duration_s}"),
    },
    "heart_rate_drift_up": _drift(
        "쉴 때 심박수가 평소보다 높아졌습니다", "Resting heart rate has risen", "회", " a minute"
    ),
    "heart_rate_drift_down": _drift(
        "쉴 때 심박수가 평소보다 낮아졌습니다", "Resting heart rate has fallen", "회", " a minute"
    ),
    "breathing_drift_up": _drift("호흡이 평소보다 빨라졌습니다", "Breathing has become faster", "회", " a minute"),
    "breathing_drift_down": _drift("호흡이 평소보다 느려졌습니다", "Breathing has become slower", "회", " a minute"),
    "spo2_drift_up": _drift("혈중 산소가 평소보다 높아졌습니다", "Blood oxygen has risen", "%", "%"),
    "spo2_drift_down": _drift("혈중 산소가 평소보다 낮아졌습니다", "Blood oxygen has fallen", "%", "%"),
    "temperature_drift_up": _drift("체온이 평소보다 높아졌습니다", "Temperature has risen", "도", " °C"),
    "temperature_drift_down": _drift("체온이 평소보다 낮아졌습니다", "Temperature has fallen", "도", " °C"),
    "pressure_drift_up": _drift("혈압이 평소보다 높아졌습니다", "Blood pressure has risen", "", ""),
    "pressure_drift_down": _drift("혈압이 평소보다 낮아졌습니다", "Blood pressure has fallen", "", ""),
    "activity_drift_up": _drift("평소보다 많이 움직입니다", "More activity than usual", "걸음", " steps an hour"),
    "activity_drift_down": _drift("평소보다 적게 움직입니다", "Less activity than usual", "걸음", " steps an hour"),
    "deterioration_likely": {
        "ko": Words("여러 측정값이 함께 나빠지고 있습니다", "", ("가장 나쁜 항목: {worst}", "{duration_s} 동안 계속")),
        "en": Words("Several readings are getting worse together", "", ("worst: {worst}", "for {duration_s}")),
    },
    "person_silent": {
        "ko": Words(
            "집에서 움직임이 없습니다",
            "집에서 {age_s}째 움직임이 없습니다",
            (
                "평소 이 시간에는 {usual_s} 안에 움직임",
                "마지막 장소: {last_place}",
                "돌아오기로 한 때가 지남{did_not_return}",
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
    "blood_pressure_high": {
        "ko": Words("혈압이 높습니다", "혈압이 {value}로 높습니다", ("평소 {usual}", "{age_s} 전 측정")),
        "en": Words(
            "Blood pressure is high", "Blood pressure is high at {value}", ("usually {usual}", "measured {age_s} ago")
        ),
    },
    "blood_pressure_low": {
        "ko": Words("혈압이 낮습니다", "혈압이 {value}로 낮습니다", ("평소 {usual}", "{age_s} 전 측정")),
        "en": Words(
            "Blood pressure is low", "Blood pressure is low at {value}", ("usually {usual}", "measured {age_s} ago")
        ),
    },
    "pulse_high": {
        "ko": Words("잰 맥박이 빠릅니다", "잰 맥박이 분당 {value}회로 빠릅니다", ("평소 {usual}회", "{age_s} 전 측정")),
        "en": Words(
            "The pulse taken is fast", "The pulse taken is fast at {value}", ("usually {usual}", "measured {age_s} ago")
        ),
    },
    "pulse_low": {
        "ko": Words("잰 맥박이 느립니다", "잰 맥박이 분당 {value}회로 느립니다", ("평소 {usual}회", "{age_s} 전 측정")),
        "en": Words(
            "The pulse taken is slow", "The pulse taken is slow at {value}", ("usually {usual}", "measured {age_s} ago")
        ),
    },
    "area_silent": {
        "ko": Words(
            "한 지역의 기기가 한꺼번에 조용합니다",
            "한 지역에서 기기 {of}대 가운데 {silent}대가 한꺼번에 조용합니다",
            ("평소에는 {usual}대", "확인할 분 목록이 있습니다"),
        ),
        "en": Words(
            "Devices of one area fell silent together",
            "{silent} of {of} devices in one area fell silent together",
            ("usually {usual}", "there is a list of whom to check"),
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
"""Places that home sensors name; another one stands for itself."""
