"""What is wrong with a policy document, said to the person who wrote it: what it was, what is expected, what to do."""

from __future__ import annotations

from collections.abc import Iterable

from dispatch.policies import Code, Problem
from dispatch.policy_fields import BY_NAME, ORDER, RULES, SECTIONS

WORDS: dict[Code, tuple[str, str]] = {
    Code.TOO_LONG: (
        "the document must have at most {high} characters, was {value}: leave out what is not needed",
        "문서는 {high}자 이하여야 하는데 {value}자입니다. 필요 없는 부분을 빼 주세요",
    ),
    Code.NOT_TOML: (
        "this line must be TOML such as ring_s = 25 or [contacts], was “{value}” ({detail}): correct it",
        "이 줄은 ring_s = 25 또는 [contacts] 같은 TOML이어야 하는데 “{value}”입니다 ({detail}). 고쳐 주세요",
    ),
    Code.UNKNOWN: (
        "{argument} is not known here, was {value}: {remedy}",
        "{argument}: 알 수 없는 이름입니다 (값 {value}). {remedy}",
    ),
    Code.NOT_A_TABLE: (
        "{argument} must be a section such as [{argument}], was {value}: write [{argument}] on a line of its own",
        "{argument}: [{argument}] 같은 구역이어야 하는데 {value}입니다. 한 줄에 [{argument}]라고 써 주세요",
    ),
    Code.NOT_A_NUMBER: (
        "{argument} must be a whole number of {low} to {high}, was {value}: write it without quotes or point",
        "{argument}: {low}~{high} 사이의 정수여야 하는데 {value}입니다. 따옴표나 소수점 없이 써 주세요",
    ),
    Code.OUT_OF_RANGE: (
        "{argument} must be {low} to {high}, was {value}: choose a value in between, because {why}",
        "{argument}: {low}~{high} 사이여야 하는데 {value}입니다. 그 안에서 골라 주세요. {why}",
    ),
    Code.NO_TITLE: (
        "title must name this document, was missing: begin with title = \"...\"",
        "title: 문서의 이름이 필요한데 없습니다. 맨 위에 title = \"...\"을 써 주세요",
    ),
    Code.NOT_A_TITLE: (
        "title must be a text of 1 to {high} characters in one line, was {value}: write title = \"...\"",
        "title: 1~{high}자의 한 줄 글이어야 하는데 {value}입니다. title = \"...\"처럼 써 주세요",
    ),
    Code.WRONG_ORDER: (
        "{argument} must be \"{order}\", was {value}: contacts are rung in the order in which the family listed them",
        "{argument}: \"{order}\"여야 하는데 {value}입니다. 연락처는 가족이 등록한 순서대로 겁니다",
    ),
    Code.DOES_NOT_FIT: (
        "{argument} must be {rule}, was {value}: change one of the two",
        "{argument}: {rule} (지금 {value}). 둘 중 하나를 바꿔 주세요",
    ),
}
DID_YOU_MEAN = ("did you mean {near}?", "{near}을(를) 쓰려고 하셨나요?")
KNOWN_ARE = ("leave it out; known here: {known}", "빼 주세요. 쓸 수 있는 이름: {known}")


def problem_text(problem: Problem, language: str) -> str:
    """One problem as a sentence, without its line."""
    korean = language == "ko"
    field = BY_NAME.get(problem.argument)
    rule = next((one for one in RULES if one.code == problem.detail), None)
    if problem.near:
        remedy = DID_YOU_MEAN[korean].format(near=problem.near)
    else:
        remedy = KNOWN_ARE[korean].format(known=", ".join(_known(problem.argument)))
    return WORDS[problem.code][korean].format(
        argument=problem.argument,
        value=problem.value,
        low=problem.low,
        high=problem.high,
        detail=problem.detail,
        order=ORDER,
        remedy=remedy,
        why="" if field is None else field.why(language),
        rule="" if rule is None else (rule.korean if korean else rule.english),
    )


def _known(argument: str) -> Iterable[str]:
    section = argument.rpartition(".")[0]
    own = [name for name in BY_NAME if name.startswith(f"{section}.")] if section else []
    return own or ("title", *SECTIONS)
