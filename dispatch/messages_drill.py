"""What is said in the calls of a drill and of a verification after their first words; every one says which it is."""

from __future__ import annotations

from dispatch.messages_words import Pair
from dispatch.notifier import Prompt

WORDS: dict[str, Pair] = {
    "drill_confirmed": {
        "ko": "{digit}번을 누르셨습니다. 훈련 확인이 끝났습니다. 실제 상황이 아니니 하실 일은 없습니다. 고맙습니다.",
        "en": "You pressed {digit}. The drill is confirmed. It was only a drill: there is nothing to do. Thank you.",
    },
    "drill_no_key": {
        "ko": "누르신 번호가 확인되지 않았습니다. 훈련 전화를 나중에 다시 드리겠습니다.",
        "en": "We did not get a key. This drill will call again later.",
    },
    "drill_over": {
        "ko": "안심입니다. 이 훈련은 이미 끝났습니다. 하실 일은 없습니다. 고맙습니다.",
        "en": "This is Ansim. This drill is already over. There is nothing to do. Thank you.",
    },
    "drill_stopped": {
        "ko": "안심입니다. 훈련을 멈추었습니다. 곧 실제 전화를 드릴 수 있으니 지금 끊고 다음 전화를 받아 주세요.",
        "en": "This is Ansim. The drill has been stopped. A real call may follow at once: "
        "please hang up and answer the next call.",
    },
    "desk_menu": {
        "ko": "안심 시험 전화입니다. 실제 상황이 아닙니다. 이 전화를 받으셨으면 1번을 눌러 주세요.",
        "en": "This is a test call from Ansim. Nothing has happened. Please press 1 to show that somebody is there.",
    },
    "desk_confirmed": {
        "ko": "{digit}번을 누르셨습니다. 시험 전화를 확인했습니다. 고맙습니다.",
        "en": "You pressed {digit}. The test is confirmed. Thank you.",
    },
    "desk_no_key": {
        "ko": "누르신 번호가 확인되지 않았습니다. 시험 전화를 나중에 다시 드리겠습니다.",
        "en": "We did not get a key. This test will call again later.",
    },
    "desk_stopped": {
        "ko": "안심입니다. 시험 전화를 멈추었습니다. 실제 상황이 있으니 지금 끊고 다음 전화를 받아 주세요.",
        "en": "This is Ansim. The test has been stopped: something real is open. "
        "Please hang up and answer the next call.",
    },
    "verify_confirmed": {
        "ko": "{digit}번을 누르셨습니다. 비상 연락처로 확인했습니다. 고맙습니다.",
        "en": "You pressed {digit}. This number is now a verified emergency contact. Thank you.",
    },
    "verify_no_key": {
        "ko": "누르신 번호가 확인되지 않았습니다. 연락처 확인 전화를 나중에 다시 드리겠습니다.",
        "en": "We did not get a key. We will call again later to check this contact.",
    },
    "verify_over": {
        "ko": "안심입니다. 연락처 확인은 이미 끝났습니다. 하실 일은 없습니다. 고맙습니다.",
        "en": "This is Ansim. The check of this contact is already over. There is nothing to do. Thank you.",
    },
    "verify_stopped": {
        "ko": "안심입니다. 연락처 확인을 멈추었습니다. 곧 실제 전화를 드릴 수 있으니 끊고 다음 전화를 받아 주세요.",
        "en": "This is Ansim. The check of this contact has been stopped. A real call may follow at once: "
        "please hang up and answer the next call.",
    },
}


def say(key: str, language: str, digit: str = "") -> Prompt:
    """One sentence; a language we do not speak is answered in English."""
    spoken = "ko" if language == "ko" else "en"
    return Prompt(language=spoken, lines=(WORDS[key][spoken].format(digit=digit),))


MISSES: dict[str, Pair] = {
    "no_number": {"ko": "전화번호가 없습니다", "en": "there is no number"},
    "bad_number": {"ko": "없는 번호입니다", "en": "there is no such number"},
    "wrong_number": {"ko": "다른 사람의 번호입니다", "en": "it is somebody else's number"},
    "no_answer": {"ko": "전화를 받지 않았습니다", "en": "nobody answered"},
    "busy": {"ko": "계속 통화 중이었습니다", "en": "the line was busy"},
    "voicemail": {"ko": "음성사서함만 받았습니다", "en": "only voicemail answered"},
    "hung_up": {"ko": "받았지만 확인하지 않았습니다", "en": "picked up but did not confirm"},
    "no_key": {"ko": "받았지만 확인하지 않았습니다", "en": "picked up but did not confirm"},
    "failed": {"ko": "연결되지 않았습니다", "en": "it could not be reached"},
    "unread": {"ko": "메시지에 답하지 않았습니다", "en": "the message was not answered"},
    "carrier": {"ko": "통신사가 전하지 못했습니다", "en": "the carrier did not deliver it"},
}
"""Why a contact was not reached, by ``drill.Miss``."""
LINKS: dict[str, Pair] = {
    "door": {
        "ko": "기기 신호가 안심에 들어오지 못했습니다. 운영자가 살펴봅니다.",
        "en": "The band's signal did not get in. The operator is looking into it.",
    },
    "detection": {
        "ko": "들어온 신호가 알림이 되지 않았습니다. 운영자가 살펴봅니다.",
        "en": "The signal got in but raised no alarm. The operator is looking into it.",
    },
    "carrier": {
        "ko": "통신사가 전화와 문자를 내보내지 못했습니다. 운영자가 살펴봅니다.",
        "en": "The carrier sent no calls or texts. The operator is looking into it.",
    },
    "contacts": {
        "ko": "연락받으실 분이 없습니다. 연락처를 등록해 주세요.",
        "en": "There is nobody to reach. Please add a contact.",
    },
    "unverified": {
        "ko": "확인된 전화번호가 하나도 없습니다. 훈련이나 번호 확인이 필요합니다.",
        "en": "No number is verified. A drill or a check of the numbers is needed.",
    },
}
"""Links that belong to nobody, by ``drill.Link``; ``unverified`` is found without a drill."""


LATER: dict[str, Pair] = {
    "night": {
        "ko": "{to}부터 {start}까지는 훈련이나 번호 확인을 위해 전화나 문자를 드리지 않아, {at}에 연락을 시작합니다.",
        "en": "Asking begins {at}, because people are not rung or written to for it between {to} and {start}.",
    },
    "quiet": {
        "ko": "지금은 방해받지 않기로 정해 두신 시간이어서, {at}에 연락을 시작합니다.",
        "en": "Asking begins {at}, because these are quiet hours.",
    },
    "incident": {
        "ko": "실제 상황이 먼저여서, 끝나고 한 시간 뒤에 연락을 시작합니다. 밤에는 연락하지 않습니다.",
        "en": "Asking begins an hour after the real incident is over, which goes first, and never at night.",
    },
}
"""Why nobody is asked just now, by ``drill.Later``."""
NEXT: dict[str, Pair] = LATER | {
    "night": {
        "ko": "{to}부터 {start}까지는 훈련이나 번호 확인을 위해 전화나 문자를 드리지 않아, "
        "아직 답하지 않으신 분께는 {at}에 연락드립니다.",
        "en": "Whoever has not answered by then is asked {at}, because people are not rung or written to for it "
        "between {to} and {start}.",
    },
    "quiet": {
        "ko": "방해받지 않기로 정해 두신 시간이 지나면, 아직 답하지 않으신 분께 {at}에 연락드립니다.",
        "en": "Whoever has not answered by then is asked {at}, when their quiet hours are over.",
    },
}
"""The same where somebody may have been asked already."""
DAYS: dict[int, Pair] = {
    0: {"ko": "오늘 {time}", "en": "today at {time}"},
    1: {"ko": "내일 {time}", "en": "tomorrow at {time}"},
}
IN_DAYS: Pair = {"ko": "{days}일 뒤 {time}", "en": "in {days} days at {time}"}


def later_text(later: str, days: int, time: str, hours: tuple[int, int], language: str, *, begun: bool) -> str:
    """Why a drill or a check of a number asks nobody now, and when it does, in local time; ``begun``: it did before.

    ``hours`` are the minutes after midnight from which and until which people are asked.
    """
    spoken = "ko" if language == "ko" else "en"
    at = DAYS.get(days, IN_DAYS)[spoken].format(days=days, time=time)
    start, to = (f"{minute // 60:02d}:{minute % 60:02d}" for minute in hours)
    return (NEXT if begun else LATER)[later][spoken].format(at=at, start=start, to=to)


LEFT: dict[str, Pair] = {
    "nobody": {
        "ko": "그러면 관제센터 말고는 전화할 분이 없습니다.",
        "en": "Then there is nobody left to ring but the control centre.",
    },
    "unproven": {
        "ko": "그러면 남는 연락처 {left}곳 가운데 확인된 번호가 없어, 첫 차례가 끝나면 관제센터에도 함께 전화합니다.",
        "en": "Then none of the {left} left is proven: the control centre is rung too, after the first round.",
    },
    "gap": {
        "ko": "그러면 확인된 연락처 {proven}곳이 남지만, {at}부터는 전화할 수 있는 분이 없는 때가 있습니다.",
        "en": "Then {proven} proven are left, and from {at} on there is a time in which none of them can be rung.",
    },
    "covered": {
        "ko": "확인된 연락처 {proven}곳이 남고, 앞으로 하루 동안 늘 전화할 수 있는 분이 있습니다.",
        "en": "Then {proven} proven are left, and somebody can be rung at every hour of the next day.",
    },
}
"""Who could be rung without a contact."""


def left_text(case: str, left: int, proven: int, at: str, language: str) -> str:
    """What the ladder is without a contact, in words."""
    return LEFT[case]["ko" if language == "ko" else "en"].format(left=left, proven=proven, at=at)


def link_text(link: str, miss: str, name: str, language: str) -> str:
    """A broken link in plain words; ``name`` is the contact's where it is one."""
    spoken = "ko" if language == "ko" else "en"
    if link in LINKS:
        return LINKS[link][spoken]
    why = MISSES[miss][spoken] if miss in MISSES else miss
    return f"{name} 님: {why}." if spoken == "ko" else f"{name}: {why}."
