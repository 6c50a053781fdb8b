"""What an escalation policy may set: every field with its range, and why the range ends where it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from dispatch.plan import Policy

LANGUAGES = ("ko", "en")
SHORTEST_STEP_S = 10
"""A dead sender's lease ends after 5 s; no step may come sooner, or a later one would overtake it."""


class Field(NamedTuple):
    """One number that a document may set."""

    section: str
    key: str
    attribute: str
    """Its name in ``plan.Policy``, whose default is the document's."""
    low: int
    high: int
    english: str
    korean: str
    reason: str
    """Why not less and not more; *policy* unless a rule of the engine is named."""
    reason_ko: str

    @property
    def name(self) -> str:
        return f"{self.section}.{self.key}"

    @property
    def default(self) -> int:
        return DEFAULTS[self.attribute]

    def why(self, language: str) -> str:
        return self.reason_ko if language == "ko" else self.reason


_PLAIN = Policy(version="")
DEFAULTS: Mapping[str, int] = {
    name: value for name in Policy.__struct_fields__ if isinstance(value := getattr(_PLAIN, name), int)
}

FIELDS: tuple[Field, ...] = (
    Field(
        "ask", "attempts", "ask_attempts", 1, 4,
        "how often the person is rung", "본인에게 거는 횟수",
        "asked at least once; more than four calls only delay help",
        "한 번은 묻고, 네 번을 넘으면 도움만 늦어집니다",
    ),
    Field(
        "ask", "attempt_s", "ask_attempt_s", 25, 90,
        "seconds an attempt may take", "한 번에 기다리는 초",
        "a telephone must ring long enough to be reached, and a second try must still fit",
        "전화기까지 갈 시간이 있어야 하고 두 번째 시도도 들어가야 합니다",
    ),
    Field(
        "ask", "budget_s", "ask_budget_s", 25, 180,
        "seconds for all attempts; silence then means yes", "모든 시도의 합계 초, 그때까지 답이 없으면 도움을 부릅니다",
        "somebody who cannot answer waits no longer than three minutes",
        "대답할 수 없는 분이 3분 넘게 기다려서는 안 됩니다",
    ),
    Field(
        "ask", "talk_s", "ask_talk_s", 15, 60,
        "seconds for the menu once picked up", "받은 뒤 안내를 들을 초",
        "the question is asked twice in it; a machine that picks up gains no more",
        "질문을 두 번 들을 시간이며, 자동응답이 받아도 그보다 늦어지지 않습니다",
    ),
    Field(
        "ask", "overlap_s", "overlap_s", 10, 60,
        "an urgent case rings contacts beside the question after", "긴급하면 이 초 뒤 연락처에도 함께 전화",
        "the person has a moment to answer alone; a true emergency loses no more than a minute",
        "본인이 먼저 답할 틈을 주되 실제 응급이 1분 넘게 늦어지지 않습니다",
    ),
    Field(
        "contacts", "ring_s", "ring_s", 15, 40,
        "seconds a telephone rings", "벨이 울리는 초",
        "shorter misses people, longer reaches their voicemail",
        "짧으면 못 받고 길면 음성사서함이 받습니다",
    ),
    Field(
        "contacts", "step_s", "contact_step_s", 25, 90,
        "seconds a contact has before the next is rung", "다음 연락처로 넘어가기까지의 초",
        "time to answer and press a key; nobody else is rung meanwhile",
        "받고 번호를 누를 시간이며, 그동안 다른 사람에게 걸지 않습니다",
    ),
    Field(
        "contacts", "unvoiced_s", "unvoiced_s", SHORTEST_STEP_S, 60,
        "the same, for who can only be written to", "문자만 받는 연락처를 기다리는 초",
        "a message that nobody reads must not hold up the ring of the next",
        "읽지 않은 문자가 다음 사람의 전화를 막아서는 안 됩니다",
    ),
    Field(
        "contacts", "rounds", "rounds", 1, 5,
        "rounds before the desk owns it", "관제센터가 맡기 전까지 도는 횟수",
        "everybody once at least; then a staffed desk must hear of it",
        "모두에게 한 번은 걸고, 그다음은 사람이 지키는 관제센터가 알아야 합니다",
    ),
    Field(
        "contacts", "slow_round_s", "slow_round_s", 300, 900,
        "seconds between the rounds after that", "그 뒤 다시 도는 간격 초",
        "bounded noise, and never silence for more than a quarter of an hour",
        "소음은 줄이되 15분 넘게 조용해서는 안 됩니다",
    ),
    Field(
        "desk", "step_s", "desk_step_s", 30, 180,
        "seconds between two calls to the desk", "관제센터에 다시 거는 간격 초",
        "a staffed desk that missed one call is rung again within three minutes",
        "한 번 놓친 관제센터에는 3분 안에 다시 겁니다",
    ),
    Field(
        "desk", "busy_s", "desk_busy_s", SHORTEST_STEP_S, 60,
        "seconds until a busy desk is rung again", "통화 중이면 다시 거는 초",
        "several people may need the one desk at once",
        "여러 분이 동시에 관제센터를 찾을 수 있습니다",
    ),
    Field(
        "hold", "claim_s", "claim_s", 60, 600,
        "seconds a dispatcher may look into it", "관제사가 살펴볼 수 있는 초",
        "long enough to read it, and paging goes on meanwhile",
        "내용을 읽을 시간이며 그동안 전화는 계속됩니다",
    ),
    Field(
        "hold", "acknowledged_s", "acknowledged_s", 300, 1800,
        "seconds who took it may go without progress", "맡은 사람이 소식 없이 있을 수 있는 초",
        "half an hour without a word returns it to the queue",
        "30분 동안 소식이 없으면 다시 대기열로 돌아갑니다",
    ),
    Field(
        "hold", "dispatched_s", "dispatched_s", 300, 1800,
        "the same, once 119 was called", "119에 알린 뒤 소식 없이 있을 수 있는 초",
        "whoever follows the unit is reminded within half an hour",
        "출동을 지켜보는 사람에게 30분 안에 다시 알립니다",
    ),
    Field(
        "hold", "eta_grace_s", "eta_grace_s", 60, 600,
        "seconds somebody on the way may be late", "오기로 한 사람이 늦어도 되는 초",
        "traffic, but not ten minutes of nobody",
        "길이 막힐 수는 있어도 10분 넘게 아무도 없어서는 안 됩니다",
    ),
    Field(
        "hold", "coming_s", "coming_s", SHORTEST_STEP_S, 60,
        "seconds until the person hears who comes", "누가 오는지 본인에게 알리기까지의 초",
        "late enough to know when they come, early enough to comfort",
        "언제 오는지 알 만큼 늦고, 안심할 만큼 빨라야 합니다",
    ),
    Field(
        "hold", "coming_again_s", "coming_again_s", 30, 180,
        "seconds until that call is tried once more", "그 전화를 한 번 더 거는 초",
        "one more try, not a telephone that rings on",
        "한 번만 더 걸고 계속 울리지 않습니다",
    ),
    Field(
        "handover", "answer_s", "handover_s", 20, 180,
        "seconds 119's desk has to accept a record", "119가 기록을 받아들이기까지 기다리는 초",
        "no answer is read out by telephone within three minutes",
        "답이 없으면 3분 안에 전화로 읽어 줍니다",
    ),
    Field(
        "settle", "settle_s", "settle_s", 600, 1800,
        "seconds a cancelled case may come back", "취소된 건이 다시 열릴 수 있는 초",
        "signs that worsen within ten minutes must reopen it (rule of the engine)",
        "10분 안에 나빠지면 다시 열려야 합니다 (엔진의 규칙)",
    ),
    Field(
        "settle", "fresh_s", "fresh_s", 60, 600,
        "how old a reading may be for “fine” to be believed", "“괜찮다”를 믿을 수 있는 측정값의 나이 초",
        "an older reading says nothing about how the person is now",
        "더 오래된 값은 지금 상태를 말해 주지 않습니다",
    ),
)  # fmt: skip
BY_NAME: Mapping[str, Field] = {field.name: field for field in FIELDS}
SECTIONS: tuple[str, ...] = tuple(dict.fromkeys(field.section for field in FIELDS))
SECTION_WORDS: Mapping[str, tuple[str, str]] = {
    "ask": ("the person is asked first", "먼저 본인에게 묻기"),
    "contacts": ("family and friends are rung", "가족과 지인에게 전화"),
    "desk": ("the staffed desk", "사람이 지키는 관제센터"),
    "hold": ("somebody has it", "누군가 맡았을 때"),
    "handover": ("a record handed to 119", "119에 넘기는 기록"),
    "settle": ("over, or not quite", "끝난 뒤"),
}
ORDER = "as listed"
"""The only order in which contacts are rung: the family's own."""
CALL_TAIL_S = 10
"""Policy: between the last ring and the next step, so that who picks up late is not overtaken at once."""
LONGEST_ROUNDS_S = 300
"""Policy: how long a lone contact may keep a lesser case from the desk."""


class Rule(NamedTuple):
    """What two fields owe one another: ``left`` must be at least ``right`` plus ``more``."""

    code: str
    left: str
    right: str
    english: str
    korean: str


RULES: tuple[Rule, ...] = (
    Rule(
        "ring_fits_step", "contacts.step_s", "contacts.ring_s",
        f"at least contacts.ring_s + {CALL_TAIL_S}, so that who picks up at the last ring is not overtaken",
        f"contacts.ring_s보다 {CALL_TAIL_S}초 이상 길어야 마지막 벨에 받은 사람을 앞지르지 않습니다",
    ),
    Rule(
        "ring_fits_attempt", "ask.attempt_s", "contacts.ring_s",
        f"at least contacts.ring_s + {CALL_TAIL_S}, so that the person is not rung while they pick up",
        f"contacts.ring_s보다 {CALL_TAIL_S}초 이상 길어야 받는 중에 다시 걸지 않습니다",
    ),
    Rule(
        "attempts_fit_budget", "ask.budget_s", "ask.attempt_s",
        "(attempts - 1) x attempt_s + contacts.ring_s or more, so that the last attempt rings at all",
        "(attempts - 1) x attempt_s + contacts.ring_s 이상이어야 마지막 시도의 벨이 울립니다",
    ),
    Rule(
        "overlap_in_budget", "ask.budget_s", "ask.overlap_s",
        "longer than ask.overlap_s, or nothing would overlap",
        "ask.overlap_s보다 길어야 함께 거는 시간이 생깁니다",
    ),
    Rule(
        "rounds_end", "contacts.rounds", "contacts.step_s",
        f"rounds x step_s of at most {LONGEST_ROUNDS_S} s, so that one contact cannot keep it from the desk",
        f"rounds x step_s가 {LONGEST_ROUNDS_S}초 이하여야 관제센터가 제때 알게 됩니다",
    ),
)  # fmt: skip
