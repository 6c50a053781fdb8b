"""What is said after a key and written beside a page: menus within a call, links, codes, mails and pushes."""

from __future__ import annotations

from dispatch.messages_words import Pair, counted
from dispatch.notifier import Prompt

WORDS: dict[str, Pair] = {
    "eta_menu": {
        "ko": "몇 분 뒤에 도착하시나요? 십 분이면 1번, 이십 분이면 2번처럼 눌러 주세요. "
        "직접 가지 않으시면 0번을 눌러 주세요.",
        "en": "When will you be there? Press 1 for ten minutes, 2 for twenty, and so on. "
        "If you are not going, press 0.",
    },
    "eta_thirty": {
        "ko": "맡으신 것으로 적었습니다. 삼십 분 뒤에 도착하시면 3번을 한 번 더, 다른 시간이면 그 번호를, "
        "직접 가지 않으시면 0번을 눌러 주세요.",
        "en": "It is yours. If you will be there in thirty minutes, press 3 once more; for ten minutes 1, "
        "for twenty 2, and so on. If you are not going, press 0.",
    },
    "eta_noted": {
        "ko": "{minutes}분 뒤 도착으로 알리겠습니다. 도착하시면 이 번호로 전화해 5번을 눌러 주세요.",
        "en": "We will say that you arrive in {minutes} minutes. When you are there, call this number and press 5.",
    },
    "eta_none": {
        "ko": "알겠습니다. 계속 맡아 주세요. 어려우시면 이 번호로 전화해 4번을 눌러 주세요.",
        "en": "All right. It is still yours. If you cannot, call this number and press 4.",
    },
    "owner_menu": {
        "ko": "안심입니다. 도착하셨으면 5번, 어르신이 무사하시면 6번, "
        "계속 맡고 계시면 3번, 더 맡기 어려우시면 4번을 눌러 주세요.",
        "en": "This is Ansim. If you are there, press 5. If all is well, press 6. If you are still on it, press 3. "
        "If you cannot go on, press 4.",
    },
    "arrived": {
        "ko": "5번을 누르셨습니다. 도착하신 것으로 적었습니다. 어르신이 무사하시면 다시 전화해 6번을 눌러 주세요.",
        "en": "You pressed 5. We have noted that you are there. If all is well, call again and press 6.",
    },
    "safe": {
        "ko": "6번을 누르셨습니다. 무사하신 것으로 적었습니다. 고맙습니다.",
        "en": "You pressed 6. We have noted that all is well. Thank you.",
    },
    "safe_noted": {
        "ko": "6번을 누르셨습니다. 말씀은 적어 두었습니다. 아직 마치지 않았고, 관제센터가 확인합니다.",
        "en": "You pressed 6. That is written down. It is not closed yet: the control centre will look into it.",
    },
    "not_now": {
        "ko": "지금은 그렇게 적을 수 없습니다. 화면에서 확인해 주시거나 다시 전화해 주세요.",
        "en": "That cannot be noted now. Please look in Ansim, or call again.",
    },
    "gave_back": {
        "ko": "4번을 누르셨습니다. 다른 분께 전화하겠습니다.",
        "en": "You pressed 4. We will ring somebody else.",
    },
    "who_comes": {"ko": "{name} 님이 가고 있습니다.", "en": "{name} is on the way."},
    "who_comes_in": {
        "ko": "{name} 님이 가고 있습니다. 약 {minutes}분 뒤에 도착합니다.",
        "en": "{name} is on the way and will be there in about {minutes} minutes.",
    },
    "who_is_there": {"ko": "{name} 님이 도착했습니다.", "en": "{name} has arrived."},
    "has_it": {"ko": "{name} 님이 맡고 있습니다.", "en": "{name} is taking care of it."},
    "desk_has_it": {"ko": "관제센터가 맡고 있습니다.", "en": "The control centre is taking care of it."},
    "nobody_yet": {
        "ko": "아직 도와드릴 분께 전화하고 있습니다.",
        "en": "We are still ringing for somebody to help you.",
    },
    "zero_for_desk": {
        "ko": "사람과 통화하시려면 0번을 눌러 주세요.",
        "en": "To speak with somebody, press 0.",
    },
    "coming_menu": {
        "ko": "안심입니다. 도와드리러 가는 분에 대해 들으시려면 1번, 사람과 통화하시려면 0번을 눌러 주세요.",
        "en": "This is Ansim. To hear who is coming to help, press 1. To speak with somebody, press 0.",
    },
    "goodbye": {"ko": "전화기를 가까이 두고 기다려 주세요.", "en": "Please keep your phone close to you."},
    "wrong_key": {"ko": "그 번호는 없습니다.", "en": "That key does nothing."},
    "wrong_key_end": {"ko": "다른 분께 전화하겠습니다.", "en": "We will ring somebody else."},
    "wrong_key_desk": {"ko": "잠시 뒤 다시 전화하겠습니다.", "en": "We will call again shortly."},
    "connecting": {"ko": "연결하겠습니다. 잠시만 기다려 주세요.", "en": "We are connecting you. Please wait."},
    "cannot_connect": {"ko": "지금은 연결할 수 없습니다.", "en": "We cannot connect you now."},
    "desk_five": {
        "ko": "그분과 바로 통화하시려면 5번을 눌러 주세요.",
        "en": "To be connected with the person, press 5.",
    },
    "connect_menu": {
        "ko": "안심입니다. 요청하신 통화를 연결하려면 5번을 눌러 주세요.",
        "en": "This is Ansim. To be connected as you asked, press 5.",
    },
    "text_link": {"ko": "맡기·거절: {link}", "en": "Take it or pass it on: {link}"},
    "text_code": {"ko": "문자로 맡으시려면 {code} 회신", "en": "To take it by text, reply {code}"},
    "confirm_link": {"ko": "눌러 확인: {link}", "en": "Confirm here: {link}"},
    "confirm_code": {"ko": "문자로 확인하시려면 {code} 회신", "en": "To confirm by text, reply {code}"},
    "owner_link": {"ko": "알리기: {link}", "en": "Tell us here: {link}"},
    "see_link": {"ko": "보기: {link}", "en": "See: {link}"},
    "mail_subject": {"ko": "[안심] 확인이 필요합니다", "en": "[Ansim] Please look at this"},
    "push_title": {"ko": "안심", "en": "Ansim"},
    "push_desk": {
        "ko": "맡을 사람을 기다리는 사건이 있습니다. 현황판에서 확인해 주세요.",
        "en": "A case waits for somebody at the desk. Please look at the board.",
    },
}
"""Spoken and written words by key; what is in braces is filled in."""

TAKING = frozenset({"contact_text", "contact_menu", "drill_text", "verify_text"})
"""Messages that ask for an answer, so that a code makes sense."""
CONFIRMING = frozenset({"drill_text", "verify_text"})
"""Those that only ask for a sign of life: there is nothing to take."""
SEEING = frozenset({"help_sent"})
"""Those that say where to follow it: their link shows how it stands."""
OWNING = frozenset({"news", "says_fine", "reminder", "arrived_too", "safe_asked"})


LINKED = TAKING | OWNING | SEEING


def word(key: str, language: str, **values: object) -> str:
    """One sentence; a language we do not speak is answered in English."""
    return counted(WORDS[key]["ko" if language == "ko" else "en"].format(**values))


def say(language: str, *keys: str, ask: bool = False, turn: int = 1, wait_s: int = 8, **values: object) -> Prompt:
    """A prompt made of some of these sentences."""
    spoken = "ko" if language == "ko" else "en"
    lines = tuple(word(key, spoken, **values) for key in keys)
    return Prompt(language=spoken, lines=lines, ask=ask, turn=turn, wait_s=wait_s)


def after(first: Prompt, then: Prompt) -> Prompt:
    """What is said first, then ``then`` with its question and its stage of the call."""
    return Prompt(
        language=first.language,
        lines=(*first.lines, *then.lines),
        ask=then.ask,
        wait_s=then.wait_s,
        reference=then.reference,
        turn=then.turn,
        bridge_to=then.bridge_to,
    )


def bridge(language: str, number: str) -> Prompt:
    """Connects the call with another telephone; who has no number there is told so."""
    if not number:
        return say(language, "cannot_connect")
    prompt = say(language, "connecting")
    return Prompt(language=prompt.language, lines=prompt.lines, bridge_to=number)


def minutes_text(seconds: float) -> str:
    """Whole minutes, at least one; spelt out where a voice would misread them."""
    return str(max(1, round(seconds / 60)))


def who_comes(language: str, name: str | None, eta_s: float | None, *, there: bool, desk: bool) -> str:
    """Who has it, as the person hears it: with a time where one was said."""
    if desk:
        return word("desk_has_it", language)
    if name is None:
        return word("nobody_yet", language)
    if there:
        return word("who_is_there", language, name=name)
    if eta_s is None:
        return word("has_it", language, name=name)
    if eta_s <= 0:
        return word("who_comes", language, name=name)
    return word("who_comes_in", language, name=name, minutes=minutes_text(eta_s))


def with_answers(body: str, message: str, language: str, link: str | None, code: str | None) -> str:
    """A text with the ways to answer it: a link to tap, and a code where replies come back."""
    lines = [body]
    if link:
        taking = "confirm_link" if message in CONFIRMING else "text_link"
        key = taking if message in TAKING else "owner_link" if message in OWNING else "see_link"
        lines.append(word(key, language, link=link))
    if code and message in TAKING:
        lines.append(word("confirm_code" if message in CONFIRMING else "text_code", language, code=code))
    return "\n".join(lines)


def mail(body: str, language: str) -> tuple[str, str]:
    """Subject and body: neutral, for a mail lies open too."""
    return word("mail_subject", language), body + "\n"


def push(body: str, language: str) -> tuple[str, str]:
    """Title and body of a notification on a locked screen."""
    plain = body
    for prefix in ("[안심] ", "[Ansim] "):
        plain = plain.removeprefix(prefix)
    return word("push_title", language), plain
