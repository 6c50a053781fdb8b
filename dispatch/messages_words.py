"""What is said on the telephone and how signs read, in Korean and English: tables only."""

from __future__ import annotations

import re
from typing import NamedTuple

_ONE = re.compile(
    r"(?<![\d.,:])1 (second|minute|hour|day|week|month|year|time|step|place|device|incident|proof|row|line)s\b"
)


def counted(text: str) -> str:
    """English as it is said of one: ``1 years`` reads ``1 year``."""
    return _ONE.sub(r"1 \1", text)


class Words(NamedTuple):
    """A sentence that needs nothing, one that says more, and clauses added when their value is known."""

    plain: str
    full: str = ""
    clauses: tuple[str, ...] = ()


Pair = dict[str, str]
"""One wording for each language."""

REASONS: dict[str, dict[str, Words]] = {
    "sos": {
        "ko": Words("도움 버튼을 눌렀습니다", "", ("{late_s} 늦게 도착한 신호", "기기 시계가 맞지 않음{clock_wrong}")),
        "en": Words(
            "The help button was pressed",
            "",
            ("the signal arrived {late_s} late", "the device clock is wrong{clock_wrong}"),
        ),
    },
    "fall": {
        "ko": Words("넘어진 것으로 보입니다", "", ("{late_s} 늦게 도착한 신호",)),
        "en": Words("A fall was detected", "", ("the signal arrived {late_s} late",)),
    },
    "spo2_low": {
        "ko": Words(
            "혈중 산소가 낮습니다",
            "혈중 산소가 {value}%로 낮습니다",
            ("평소 {usual}%", "기준 {limit}%", "{duration_s} 동안 계속", "{age_s} 전 측정"),
        ),
        "en": Words(
            "Blood oxygen is low",
            "Blood oxygen is low at {value}%",
            ("usually {usual}%", "limit {limit}%", "for {duration_s}", "measured {age_s} ago"),
        ),
    },
    "heart_rate_high": {
        "ko": Words(
            "심박수가 높습니다",
            "심박수가 분당 {value}회로 높습니다",
            ("평소 {usual}회", "기준 {limit}회", "{duration_s} 동안 계속", "{age_s} 전 측정"),
        ),
        "en": Words(
            "Heart rate is high",
            "Heart rate is high at {value} a minute",
            ("usually {usual}", "limit {limit}", "for {duration_s}", "measured {age_s} ago"),
        ),
    },
    "heart_rate_low": {
        "ko": Words(
            "심박수가 낮습니다",
            "심박수가 분당 {value}회로 낮습니다",
            ("평소 {usual}회", "기준 {limit}회", "{duration_s} 동안 계속", "{age_s} 전 측정"),
        ),
        "en": Words(
            "Heart rate is low",
            "Heart rate is low at {value} a minute",
            ("usually {usual}", "limit {limit}", "for {duration_s}", "measured {age_s} ago"),
        ),
    },
    "news2_high": {
        "ko": Words(
            "여러 생체 신호가 함께 크게 나빠졌습니다",
            "여러 생체 신호가 함께 크게 나빠졌습니다. 조기경고 점수 {total}점",
            ("7개 항목 중 {known}개 측정", "가장 나쁜 항목: {worst}", "{age_s} 전 측정"),
        ),
        "en": Words(
            "Several vital signs are badly off together",
            "Several vital signs are badly off together: early warning score {total}",
            ("{known} of 7 measured", "worst: {worst}", "measured {age_s} ago"),
        ),
    },
    "news2_medium": {
        "ko": Words(
            "여러 생체 신호가 함께 나빠졌습니다",
            "여러 생체 신호가 함께 나빠졌습니다. 조기경고 점수 {total}점",
            ("7개 항목 중 {known}개 측정", "가장 나쁜 항목: {worst}", "{age_s} 전 측정"),
        ),
        "en": Words(
            "Several vital signs are off together",
            "Several vital signs are off together: early warning score {total}",
            ("{known} of 7 measured", "worst: {worst}", "measured {age_s} ago"),
        ),
    },
    "signal_contradiction": {
        "ko": Words(
            "측정값이 서로 맞지 않습니다",
            "측정값이 서로 맞지 않습니다. {field} {value}, {other_field} {other_value}",
        ),
        "en": Words(
            "Two measurements contradict each other",
            "Two measurements contradict each other: {field} {value}, {other_field} {other_value}",
        ),
    },
    "device_silent": {
        "ko": Words("기기 신호가 끊겼습니다", "기기 신호가 {age_s}째 없습니다", ("{cause}", "기준 {limit_s}")),
        "en": Words(
            "The device has gone silent",
            "The device has been silent for {age_s}",
            ("{cause}", "limit {limit_s}"),
        ),
    },
    "device_never_reported": {
        "ko": Words(
            "등록한 기기에서 아직 신호가 없습니다",
            "등록하고 {age_s} 동안 기기 신호가 없습니다",
            ("기준 {limit_s}",),
        ),
        "en": Words(
            "The device has never reported",
            "The device has never reported, {age_s} after it was enrolled",
            ("limit {limit_s}",),
        ),
    },
    "device_clock_wrong": {
        "ko": Words("기기 시계가 맞지 않습니다", "기기 시계가 {skew_s} 어긋나 있습니다"),
        "en": Words("The device clock is wrong", "The device clock is off by {skew_s}"),
    },
    "not_worn": {
        "ko": Words("기기를 차고 있지 않습니다", "기기를 {age_s}째 차고 있지 않습니다"),
        "en": Words("The device is not being worn", "The device has not been worn for {age_s}"),
    },
    "battery_low": {
        "ko": Words("기기 배터리가 부족합니다", "기기 배터리가 {value}% 남았습니다"),
        "en": Words("The device battery is low", "The device battery is at {value}%"),
    },
    "detection_failed": {
        "ko": Words("안심 시스템 오류로 측정값을 판정하지 못했습니다"),
        "en": Words("Ansim could not assess the readings: a fault on our side"),
    },
    "record_unreadable": {
        "ko": Words("안심 시스템 오류로 기록을 읽지 못했습니다", "", ("기록: {table}",)),
        "en": Words("Ansim could not read a record: a fault on our side", "", ("record: {table}",)),
    },
    "audit_mended": {
        "ko": Words("안심 시스템이 놓칠 뻔한 단계를 스스로 바로잡았습니다", "", ("{value}건",)),
        "en": Words("Ansim had to mend steps that it would have missed: a fault on our side", "", ("{value} of them",)),
    },
    "carrier_refuses": {
        "ko": Words("통신사가 안심의 전화와 문자를 받아 주지 않습니다. 요금과 계정을 확인해 주세요"),
        "en": Words("The carrier refuses our calls and texts: check its credit and our account there"),
    },
}
UNKNOWN_REASON = {
    "ko": Words("확인이 필요한 신호가 있습니다"),
    "en": Words("There is a sign that needs checking"),
}

VITALS: dict[str, Pair] = {
    "heart_rate_bpm": {"ko": "심박수", "en": "heart rate"},
    "pulse_rate_bpm": {"ko": "맥박수", "en": "pulse rate"},
    "spo2_pct": {"ko": "혈중 산소", "en": "blood oxygen"},
    "respiratory_rate_bpm": {"ko": "호흡수", "en": "breathing rate"},
    "temperature_c": {"ko": "체온", "en": "temperature"},
    "skin_temperature_c": {"ko": "피부 온도", "en": "skin temperature"},
    "systolic_mmhg": {"ko": "수축기 혈압", "en": "systolic pressure"},
    "diastolic_mmhg": {"ko": "이완기 혈압", "en": "diastolic pressure"},
    "glucose_mgdl": {"ko": "혈당", "en": "blood glucose"},
    "weight_kg": {"ko": "체중", "en": "weight"},
    "steps": {"ko": "걸음 수", "en": "steps"},
    "worn": {"ko": "착용 여부", "en": "worn"},
    "battery_pct": {"ko": "배터리", "en": "battery"},
}

SAID: dict[str, dict[str, tuple[str, ...]]] = {
    "ask": {
        "ko": ("안녕하세요, 안심입니다.", "괜찮으시면 1번, 도움이 필요하시면 2번을 눌러 주세요."),
        "en": ("Hello, this is Ansim.", "If you are fine, press 1. If you need help, press 2."),
    },
    "ask_again": {
        "ko": (
            "괜찮으시면 1번, 도움이 필요하시면 2번을 눌러 주세요.",
            "누르지 않으시면 도와드릴 분께 연락하겠습니다.",
        ),
        "en": (
            "If you are fine, press 1. If you need help, press 2.",
            "If you press nothing, we will ring for help.",
        ),
    },
    "ask_beside": {
        "ko": (
            "안녕하세요, 안심입니다.",
            "도움을 불렀습니다. 잘못 누르셨으면 1번, 도움이 필요하시면 2번을 눌러 주세요.",
        ),
        "en": (
            "Hello, this is Ansim.",
            "We have called for help. If you pressed by mistake, press 1. If you need help, press 2.",
        ),
    },
    "ask_beside_again": {
        "ko": (
            "잘못 누르셨으면 1번, 도움이 필요하시면 2번을 눌러 주세요.",
            "누르지 않으셔도 도와드릴 분께 계속 전화합니다.",
        ),
        "en": (
            "If you pressed by mistake, press 1. If you need help, press 2.",
            "If you press nothing, we go on ringing for help.",
        ),
    },
    "reply_fine": {
        "ko": ("괜찮으시다니 다행입니다.", "도움이 필요하시면 언제든 도움 버튼을 눌러 주세요."),
        "en": ("Good to hear that you are fine.", "If you need help, press your help button at any time."),
    },
    "reply_help": {
        "ko": ("알겠습니다. 지금 도와드릴 분께 전화하고 있습니다.", "전화기를 가까이 두고 기다려 주세요."),
        "en": ("All right. We are ringing for help now.", "Please keep your phone close to you."),
    },
    "reply_help_held": {
        "ko": ("알겠습니다. 맡고 계신 분께 지금 다시 전화하고 있습니다.", "전화기를 가까이 두고 기다려 주세요."),
        "en": ("All right. We are ringing whoever has taken it, now.", "Please keep your phone close to you."),
    },
    "reply_unclear": {
        "ko": ("답을 듣지 못해 도와드릴 분께 전화하고 있습니다.", "전화기를 가까이 두고 기다려 주세요."),
        "en": (
            "We did not get an answer, so we are ringing for help.",
            "Please keep your phone close to you.",
        ),
    },
    "reply_fine_checked": {
        "ko": ("말씀 감사합니다.", "안전을 위해 한 번 더 확인하도록 연락해 두겠습니다."),
        "en": ("Thank you for telling us.", "To be safe, we are asking someone to look in on you."),
    },
    "reply_late_fine": {
        "ko": ("말씀 감사합니다. 기록해 두었습니다.", "이미 연락을 받은 분이 확인해 드릴 수 있습니다."),
        "en": ("Thank you, we have noted that.", "Someone who was already told may still look in on you."),
    },
    "contact_menu": {
        "ko": (
            "안심에서 드리는 긴급 확인 전화입니다.",
            "맡으시려면 3번, 어려우시면 4번을 눌러 주세요. 4번은 다음 분께 전화합니다.",
            "잘못 걸린 전화라면 9번을 눌러 주세요.",
        ),
        "en": (
            "This is an urgent call from Ansim.",
            "To take it, press 3. If you cannot, press 4 and we ring the next person.",
            "If this is a wrong number, press 9.",
        ),
    },
    "contact_menu_again": {
        "ko": ("맡으시려면 3번, 어려우시면 4번, 잘못 걸린 전화라면 9번을 눌러 주세요.",),
        "en": ("To take it, press 3. If you cannot, press 4. If this is a wrong number, press 9.",),
    },
    "contact_taken": {
        "ko": ("3번을 누르셨습니다. 맡아 주셔서 고맙습니다.",),
        "en": ("You pressed 3. Thank you for taking it.",),
    },
    "contact_end": {
        "ko": ("위급하면 바로 일일구에 전화해 주세요.",),
        "en": ("If it is an emergency, call one one nine at once.",),
    },
    "already_taken": {
        "ko": ("이미 다른 분이 맡았습니다. 고맙습니다.",),
        "en": ("Someone else has already taken it. Thank you.",),
    },
    "declined": {
        "ko": ("4번을 누르셨습니다. 다른 분께 전화하겠습니다.",),
        "en": ("You pressed 4. We will ring somebody else.",),
    },
    "wrong_number": {
        "ko": ("9번을 누르셨습니다.", "이 번호로는 다시 전화하지 않겠습니다. 죄송합니다."),
        "en": ("You pressed 9.", "We will not call this number again. We are sorry."),
    },
    "no_key": {
        "ko": ("응답이 없어 다른 분께 전화하겠습니다.",),
        "en": ("We did not get an answer, so we will ring somebody else.",),
    },
    "voicemail": {
        "ko": ("안심입니다. 확인이 필요한 일이 있으니 이 번호로 전화해 주세요.",),
        "en": ("This is Ansim. Something needs your attention. Please call this number back.",),
    },
    "desk_menu": {
        "ko": ("안심 긴급 알림입니다. 아직 맡은 사람이 없는 건이 있습니다.", "맡으시려면 3번을 눌러 주세요."),
        "en": ("Ansim urgent alert. An incident has nobody holding it.", "To take it, press 3."),
    },
    "desk_technical": {
        "ko": ("안심 시스템 알림입니다. 확인이 필요한 오류가 있습니다.", "맡으시려면 3번을 눌러 주세요."),
        "en": ("Ansim system alert. A fault needs checking.", "To take it, press 3."),
    },
    "desk_taken": {
        "ko": (
            "관제센터가 맡은 것으로 적었습니다.",
            "담당자는 아직 없습니다. 화면에서 이 건을 열고 ‘내가 맡기’를 눌러 주세요.",
        ),
        "en": (
            "It is written down that the control centre has it.",
            "It has nobody's name yet. Please open it on the screen and press “Acknowledge”.",
        ),
    },
    "desk_no_key": {
        "ko": ("응답이 없어 잠시 뒤 다시 전화하겠습니다.",),
        "en": ("We did not get an answer and will call again shortly.",),
    },
    "desk_news": {
        "ko": ("안심입니다. 진행 중인 건에 새로운 소식이 있습니다.", "화면을 확인해 주세요."),
        "en": ("This is Ansim. There is news in an open incident.", "Please check the screen."),
    },
    "desk_reminder": {
        "ko": ("안심입니다. 출동한 건의 진행 상황이 들어오지 않았습니다.", "화면을 확인해 주세요."),
        "en": ("This is Ansim. An incident under way has had no progress.", "Please check the screen."),
    },
    "news": {
        "ko": (
            "안심입니다. 맡으신 일에 새로운 신호가 있습니다.",
            "계속 맡으시려면 3번, 어려우시면 4번을 눌러 주세요.",
        ),
        "en": (
            "This is Ansim. There is a new sign in what you took on.",
            "If you are still on it, press 3. If you cannot, press 4.",
        ),
    },
    "says_fine": {
        "ko": ("안심입니다. 맡으신 일로, 본인은 괜찮다고 답했습니다.", "그래도 확인해 주세요."),
        "en": (
            "This is Ansim. About what you took on: the person says that they are fine.",
            "Please check all the same.",
        ),
    },
    "nothing_open": {
        "ko": ("안심입니다. 지금 확인이 필요한 일은 없습니다.", "위급하면 바로 일일구에 전화해 주세요."),
        "en": ("This is Ansim. Nothing needs your attention now.", "In an emergency, call one one nine."),
    },
    "patient_coming": {
        "ko": ("안심입니다.", "누가 언제 오는지 들으시려면 1번, 관제센터와 통화하시려면 0번을 눌러 주세요."),
        "en": (
            "This is Ansim.",
            "To hear who is coming and when, press 1. To talk to the control centre, press 0.",
        ),
    },
    "taken": {
        "ko": ("안심입니다. 연락드린 일은 맡은 분이 있습니다.", "지금 하실 일은 없습니다. 고맙습니다."),
        "en": ("This is Ansim. Somebody has taken it.", "There is nothing you need to do now. Thank you."),
    },
    "going": {
        "ko": ("안심입니다. 맡은 분이 지금 가고 있습니다.", "지금 하실 일은 없습니다. 고맙습니다."),
        "en": ("This is Ansim. Somebody is on the way now.", "There is nothing you need to do. Thank you."),
    },
    "arrived": {
        "ko": ("안심입니다. 맡은 분이 도착했습니다.", "마무리되면 다시 알려 드리겠습니다."),
        "en": ("This is Ansim. Somebody is there now.", "We will tell you when it is over."),
    },
    "arrived_other": {
        "ko": ("안심입니다. 다른 분이 먼저 도착했습니다.", "마무리되면 다시 알려 드리겠습니다."),
        "en": ("This is Ansim. Somebody else got there first.", "We will tell you when it is over."),
    },
    "arrived_too": {
        "ko": ("안심입니다. 다른 보호자도 곁에 있다고 합니다.", "지금도 맡고 계시니 계속해 주세요."),
        "en": ("This is Ansim. Another contact says they are there too.", "It is still yours: please go on."),
    },
    "safe_asked": {
        "ko": ("안심입니다. 도착한 분이 무사하다고 합니다.", "맞는지 안심 화면에서 알려 주세요."),
        "en": ("This is Ansim. Who is there says that all is well.", "Please tell us in Ansim whether it is so."),
    },
    "help_sent": {
        "ko": ("안심입니다. 연락드린 일로 일일구에 신고했습니다.", "진행 상황은 안심에서 보실 수 있습니다."),
        "en": ("This is Ansim. One one nine has been called.", "You can follow it in Ansim."),
    },
    "all_clear": {
        "ko": ("안심입니다. 연락드린 일이 마무리되었습니다.", "더 하실 일은 없습니다. 고맙습니다."),
        "en": ("This is Ansim. It is over.", "There is nothing more you need to do. Thank you."),
    },
    "reminder": {
        "ko": ("안심입니다. 맡으신 일이 아직 끝나지 않았습니다.", "진행 상황을 알려 주세요."),
        "en": ("This is Ansim. What you took on is still open.", "Please tell us how it stands."),
    },
    "drill_call": {
        "ko": (
            "안심에서 드리는 훈련 전화입니다. 실제 상황이 아닙니다.",
            "잘 들리시면 3번, 잘못 걸린 전화라면 9번을 눌러 주세요.",
        ),
        "en": (
            "This is a drill by Ansim. Nothing has happened.",
            "If you can hear this, press 3. If this is a wrong number, press 9.",
        ),
    },
    "verify_call": {
        "ko": (
            "안심에서 비상 연락처를 확인하는 전화입니다. 실제 상황이 아닙니다.",
            "이 번호로 연락받으시려면 1번, 잘못 걸린 전화라면 9번을 눌러 주세요.",
        ),
        "en": (
            "Ansim is checking its emergency contacts. Nothing has happened.",
            "To be reached at this number, press 1. If this is a wrong number, press 9.",
        ),
    },
}
