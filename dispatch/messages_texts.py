"""What is written in texts, in Korean and English: tables only. A text lies open on a screen: no name, no value."""

from __future__ import annotations

from dispatch.codes import Message, Role
from dispatch.messages_words import Pair, Words

TEXTS: dict[Message, Pair] = {
    Message.CONTACT_TEXT: {
        "ko": "[안심] 확인이 필요한 일이 있습니다. 곧 걸려 오는 전화를 받아 주세요.",
        "en": "[Ansim] Something needs your attention. Please answer the call that follows.",
    },
    Message.TAKEN: {
        "ko": "[안심] 연락드린 일은 다른 분이 맡았습니다. 지금 하실 일은 없습니다.",
        "en": "[Ansim] Someone else has taken it. There is nothing you need to do now.",
    },
    Message.HELP_SENT: {
        "ko": "[안심] 연락드린 일로 119에 신고했습니다. 안심 화면에서 확인해 주세요.",
        "en": "[Ansim] 119 has been called. Please follow it in Ansim.",
    },
    Message.ALL_CLEAR: {
        "ko": "[안심] 연락드린 일이 마무리되었습니다. 더 하실 일은 없습니다.",
        "en": "[Ansim] It is over. There is nothing more you need to do.",
    },
    Message.NEWS: {
        "ko": "[안심] 맡으신 일에 새로운 신호가 있습니다. 지금 확인해 주세요.",
        "en": "[Ansim] There is a new sign in what you took on. Please check now.",
    },
    Message.SAYS_FINE: {
        "ko": "[안심] 맡으신 일로, 본인은 괜찮다고 답했습니다. 그래도 확인해 주세요.",
        "en": "[Ansim] About what you took on: the person says that they are fine. Please check all the same.",
    },
    Message.REMINDER: {
        "ko": "[안심] 맡으신 일이 아직 끝나지 않았습니다. 진행 상황을 알려 주세요.",
        "en": "[Ansim] What you took on is still open. Please tell us how it stands.",
    },
    Message.GOING: {
        "ko": "[안심] 맡은 분이 지금 가고 있습니다. 지금 하실 일은 없습니다.",
        "en": "[Ansim] Somebody is on the way now. There is nothing you need to do.",
    },
    Message.ARRIVED: {
        "ko": "[안심] 맡은 분이 도착했습니다. 마무리되면 다시 알려 드립니다.",
        "en": "[Ansim] Somebody is there now. We will tell you when it is over.",
    },
    Message.ARRIVED_OTHER: {
        "ko": "[안심] 다른 분이 먼저 도착했습니다. 마무리되면 다시 알려 드립니다.",
        "en": "[Ansim] Somebody else got there first. We will tell you when it is over.",
    },
    Message.ARRIVED_TOO: {
        "ko": "[안심] 다른 보호자도 곁에 있다고 합니다. 지금도 맡고 계시니 계속해 주세요.",
        "en": "[Ansim] Another contact says they are there too. It is still yours: please go on.",
    },
    Message.SAFE_ASKED: {
        "ko": "[안심] 도착한 분이 무사하다고 합니다. 맞는지 보고 알려 주세요.",
        "en": "[Ansim] Who is there says all is well. Please look and tell us if it is.",
    },
    Message.DRILL_TEXT: {
        "ko": "[안심] 훈련입니다. 실제 상황이 아닙니다. 받으셨다고 알려 주세요.",
        "en": "[Ansim] This is a drill, nothing has happened. Please tell us that you received it.",
    },
    Message.VERIFY_TEXT: {
        "ko": "[안심] 비상 연락을 받으실 번호가 맞는지 확인합니다.",
        "en": "[Ansim] We are checking that this number can be reached in an emergency.",
    },
    Message.GAP_AHEAD: {
        "ko": "[안심] 곧 연락받으실 분이 아무도 없는 시간이 옵니다. 연락처를 확인해 주세요.",
        "en": "[Ansim] A time is near in which nobody can be reached. Please look at the contacts.",
    },
    Message.DRILL_BROKEN: {
        "ko": "[안심] 비상 연락 훈련에서 연결되지 않은 곳이 있습니다. 확인해 주세요.",
        "en": "[Ansim] The drill found somebody or something that cannot be reached. Please have a look.",
    },
}
GOING_BY: dict[Role, dict[str, Words]] = {
    Role.CAREGIVER: {
        "ko": Words(
            "[안심] 다른 보호자가 지금 가고 있습니다.",
            "[안심] 다른 보호자가 지금 가고 있습니다. 약 {eta_min}분 뒤 도착합니다.",
        ),
        "en": Words(
            "[Ansim] Another caregiver is on the way now.",
            "[Ansim] Another caregiver is on the way, there in about {eta_min} min.",
        ),
    },
    Role.DISPATCHER: {
        "ko": Words(
            "[안심] 관제센터에서 지금 가고 있습니다.",
            "[안심] 관제센터에서 지금 가고 있습니다. 약 {eta_min}분 뒤 도착합니다.",
        ),
        "en": Words(
            "[Ansim] Somebody from the control centre is on the way now.",
            "[Ansim] Somebody from the control centre is on the way, there in about {eta_min} min.",
        ),
    },
}
UNRUNG: Pair = {
    "ko": "[안심] 확인이 필요한 일이 있습니다. 지금 맡으실 수 있는지 알려 주세요.",
    "en": "[Ansim] Something needs your attention. Please tell us now whether you can take it.",
}
"""As ``CONTACT_TEXT``, for somebody who can only be written to."""
FULLER: dict[Message, dict[str, Words]] = {
    Message.GAP_AHEAD: {
        "ko": Words("", "[안심] {when}부터 연락받으실 분이 아무도 없습니다. 연락처를 확인해 주세요."),
        "en": Words("", "[Ansim] From {when} on nobody can be reached. Please look at the contacts."),
    },
    Message.VERIFY_TEXT: {
        "ko": Words("", "[안심] 번호 확인 숫자는 {code}입니다. 다른 분께 알려 주지 마세요."),
        "en": Words("", "[Ansim] Your verification code is {code}. Please tell it to nobody."),
    },
}
"""What says more once its value is known."""
TAKEN_BY: dict[Role, Pair] = {
    Role.CAREGIVER: {
        "ko": "[안심] 연락드린 일은 다른 보호자가 맡았습니다. 지금 하실 일은 없습니다.",
        "en": "[Ansim] Another caregiver has taken it. There is nothing you need to do now.",
    },
    Role.DISPATCHER: {
        "ko": "[안심] 연락드린 일은 관제센터가 맡았습니다. 지금 하실 일은 없습니다.",
        "en": "[Ansim] The control centre has taken it. There is nothing you need to do now.",
    },
    Role.DESK: {
        "ko": "[안심] 연락드린 일은 관제센터가 맡았습니다. 지금 하실 일은 없습니다.",
        "en": "[Ansim] The control centre has taken it. There is nothing you need to do now.",
    },
}
