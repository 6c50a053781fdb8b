"""What is said where a carrier takes its words with the request and can tell one key only: tables, ko and en."""

from __future__ import annotations

from dispatch import messages
from dispatch.codes import Message
from dispatch.notifier import Prompt

TO_THE_LINK = {
    "ko": "자세한 내용은 문자로 받으신 링크에서 보실 수 있습니다.",
    "en": "The link in your text message shows the rest.",
}
PRESS = {
    "ko": "맡으시려면 1번을 눌러 주세요. 누르지 않으시면 다른 분께 전화하겠습니다.",
    "en": "To take it, press 1. If you do not, we ring somebody else.",
}

WORDS: dict[Message, tuple[str, dict[str, tuple[str, ...]]]] = {
    Message.ASK: (
        "1",
        {
            "ko": (
                "안녕하세요, 안심입니다.",
                "괜찮으시면 1번을 눌러 주세요.",
                "도움이 필요하시면 누르지 말고 기다려 주세요. 도와드릴 분께 연락하겠습니다.",
            ),
            "en": (
                "Hello, this is Ansim.",
                "If you are fine, press 1.",
                "If you need help, press nothing: we will ring for help.",
            ),
        },
    ),
    Message.ASK_BESIDE: (
        "1",
        {
            "ko": (
                "안녕하세요, 안심입니다.",
                "도움을 불렀습니다. 잘못 누르셨으면 1번을 눌러 주세요.",
                "도움이 필요하시면 누르지 말고 기다려 주세요. 도와드릴 분께 계속 전화합니다.",
            ),
            "en": (
                "Hello, this is Ansim.",
                "We have called for help. If you pressed by mistake, press 1.",
                "If you need help, press nothing: we go on ringing for help.",
            ),
        },
    ),
    Message.CONTACT_MENU: (
        "3",
        {
            "ko": ("안심에서 드리는 긴급 확인 전화입니다.", PRESS["ko"], TO_THE_LINK["ko"]),
            "en": ("This is an urgent call from Ansim.", PRESS["en"], TO_THE_LINK["en"]),
        },
    ),
    Message.DESK_MENU: (
        "3",
        {
            "ko": ("안심 긴급 알림입니다. 아직 맡은 사람이 없는 건이 있습니다.", "맡으시려면 1번을 눌러 주세요."),
            "en": ("Ansim urgent alert. An incident has nobody holding it.", "To take it, press 1."),
        },
    ),
    Message.DESK_TECHNICAL: (
        "3",
        {
            "ko": ("안심 시스템 알림입니다. 확인이 필요한 오류가 있습니다.", "맡으시려면 1번을 눌러 주세요."),
            "en": ("Ansim system alert. A fault needs checking.", "To take it, press 1."),
        },
    ),
    Message.NEWS: (
        "3",
        {
            "ko": (
                "안심입니다. 맡으신 일에 새로운 신호가 있습니다.",
                "계속 맡으시려면 1번을 눌러 주세요. 누르지 않으시면 다른 분께도 연락하겠습니다.",
            ),
            "en": (
                "This is Ansim. There is a new sign in what you took on.",
                "If you are still on it, press 1. If you press nothing, we ring others too.",
            ),
        },
    ),
    Message.PATIENT_COMING: (
        "",
        {
            "ko": ("안심입니다. 오고 계신 분이 있습니다.", "전화기를 가까이 두고 기다려 주세요."),
            "en": ("This is Ansim. Somebody is on the way.", "Please keep your phone close to you."),
        },
    ),
    Message.DRILL_CALL: (
        "3",
        {
            "ko": ("안심에서 드리는 훈련 전화입니다. 실제 상황이 아닙니다.", "잘 들리시면 1번을 눌러 주세요."),
            "en": ("This is a drill by Ansim. Nothing has happened.", "If you can hear this, press 1."),
        },
    ),
    Message.VERIFY_CALL: (
        "1",
        {
            "ko": (
                "안심에서 비상 연락처를 확인하는 전화입니다. 실제 상황이 아닙니다.",
                "이 번호로 연락받으시려면 1번을 눌러 주세요.",
            ),
            "en": (
                "Ansim is checking its emergency contacts. Nothing has happened.",
                "To be reached at this number, press 1.",
            ),
        },
    ),
}
"""By message: which digit of the full menu key 1 stands for (empty: none is taken), and the words, as neutral as those
of the full menus. "Heard who comes" has no key: 1 would read as "I am fine", for the question does not travel along."""


def once(message: Message | str, language: str) -> Prompt:
    """All that such a call can say, in one turn; a message without words of its own here takes no key at all."""
    key = Message(message)
    if key not in WORDS:
        said = messages.prompt_for(key, language)
        return Prompt(language=said.language, lines=said.lines)
    stands_for, words = WORDS[key]
    language = messages.spoken_language(language)
    return Prompt(language=language, lines=words[language], ask=bool(stands_for), one_key=stands_for)
