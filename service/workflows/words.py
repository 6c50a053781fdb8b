"""The few sentences that read models add of their own, in both languages."""

from __future__ import annotations

WORDS: dict[str, tuple[str, str]] = {
    "word.well": ("잘 지내요", "Well"),
    "word.check": ("확인 필요", "Check"),
    "word.help": ("도움 필요", "Help"),
    "word.unknown": ("알 수 없음", "Unknown"),
    "why.ok": ("최근 측정값이 모두 정상입니다.", "Fresh readings, all within limits."),
    "why.never_reported": ("아직 받은 측정값이 없습니다.", "No reading has arrived yet."),
    "why.stale": ("마지막 측정이 오래되어 지금 상태를 알 수 없습니다.", "The last reading is too old to tell."),
    "why.not_worn": ("밴드를 착용하지 않고 있습니다.", "The band is not being worn."),
    "why.too_few_vitals": ("상태를 판단할 측정값이 부족합니다.", "Too few vital signs to tell."),
    "why.signal_contradiction": (
        "측정값이 서로 맞지 않아 믿을 수 없습니다.",
        "The sensors contradict each other.",
    ),
    "why.doubtful": ("측정 품질이 낮아 판단할 수 없습니다.", "The signal is too poor to tell."),
    "why.news2_medium": (
        "여러 측정값이 함께 나빠졌습니다.",
        "Several signs together are out of range.",
    ),
    "why.news2_single_3": ("측정값 하나가 크게 벗어났습니다.", "One sign is far out of range."),
    "why.unreadable": (
        "기록을 열 수 없습니다. 담당자에게 알렸습니다.",
        "The record cannot be opened; the desk has been told.",
    ),
    "why.undetected": (
        "최근 측정값을 분석하지 못했습니다. 담당자에게 알렸습니다.",
        "The latest readings could not be analysed; the desk has been told.",
    ),
    "why.sign": ("측정값에 살펴볼 점이 있습니다.", "A sign needs a look."),
    "next.ask": ("본인에게 다시 전화", "asks the person again"),
    "next.ask_end": ("답이 없으면 가족에게 전화", "rings the family if there is no answer"),
    "next.contact": ("{name} 님에게 전화", "rings {name}"),
    "next.contacts": ("다음 연락처로 전화", "rings the next contact"),
    "next.desk": ("관제센터로 전화", "rings the control centre"),
    "next.coming": ("누가 오는지 본인에게 전화로 알림", "rings the person to say who is coming"),
    "next.handover": ("119의 답이 없으면 전화로 대본 읽기", "without an answer, read 119 the script by telephone"),
    "next.unit": ("119 소식이 없으면 다시 알림", "a reminder unless there is news of 119"),
    "next.deadline": ("진행이 없으면 대기열로 돌아감", "returns to the queue unless there is progress"),
    "next.settle": ("변화가 없으면 종료", "closes unless signs worsen"),
    "sex.male": ("남성", "male"),
    "sex.female": ("여성", "female"),
    "flag.dementia": ("치매: 본인 답만으로 종료하지 않음", "dementia: own answer is not relied on"),
    "flag.voice": ("전화로 대화하기 어려움", "cannot use the telephone"),
    "news2": ("NEWS2 {total}점 이상 (7개 중 {known}개 측정)", "NEWS2 at least {total} ({known} of 7 known)"),
    "news2.full": ("NEWS2 {total}점", "NEWS2 {total}"),
    "unnamed": ("이름을 열 수 없음", "name cannot be opened"),
    "machine": ("연동 시스템", "connected system"),
    "role.caregiver": ("가족·돌봄", "family or carer"),
    "role.dispatcher": ("관제사", "dispatcher"),
    "role.operator": ("운영자", "operator"),
    "role.machine": ("연동 시스템", "connected system"),
    "role.desk": ("관제센터", "control centre"),
    "role.patient": ("본인", "the person"),
    "desk": ("관제센터", "control centre"),
    "patient": ("본인", "the person"),
    "waiting": ("거는 중", "being rung"),
    # A duress key must look like "fine", on a page too that somebody in the room may be reading.
    "patient.answered": ("전화를 받음", "picked up"),
    "patient.pressed_1": ("괜찮다고 답함", "said fine"),
    "patient.pressed_2": ("도움을 요청함", "asked for help"),
    "patient.no_key": ("받았으나 답이 없음", "picked up, no answer"),
    "patient.pressed": ("누른 번호 {pressed}: 도움 요청으로 봄", "pressed {pressed}, which counts as asking for help"),
    "wrong_key": ("누른 번호 {pressed}: 쓰이지 않는 번호", "pressed {pressed}, which does nothing"),
    "contact.pressed_3": ("맡겠다고 답함", "took it"),
    "contact.pressed_4": ("갈 수 없다고 답함", "cannot go"),
    "contact.pressed_9": ("잘못된 번호", "wrong number"),
    "contact.no_key": ("받았으나 답이 없음", "picked up, no answer"),
    "contact.going": ("맡고, {minutes}분 뒤 도착한다고 함", "took it, there in {minutes} min"),
    "contact.pressed_5": ("도착했다고 알림", "has arrived"),
    "contact.pressed_6": ("무사하다고 알림", "said all is well"),
    "contact.link_3": ("링크에서 맡음", "took it by the link"),
    "contact.link_4": ("링크에서 갈 수 없다고 답함", "cannot go, by the link"),
    "contact.reply_3": ("문자로 맡음", "took it by text"),
    "contact.bad_number": ("없는 번호", "no such number"),
    "patient.heard": ("누가 오는지 들음", "heard who is coming"),
    "patient.bridged": ("관제센터와 연결함", "was connected with the control centre"),
    "patient.bad_number": ("없는 번호", "no such number"),
    "desk.bridged": ("본인과 연결함", "was connected with the person"),
    "desk.pressed_3": ("맡겠다고 답함", "took it"),
    "relation.daughter": ("딸", "daughter"),
    "relation.son": ("아들", "son"),
    "relation.neighbour": ("이웃", "neighbour"),
    "relation.carer": ("생활지원사", "care worker"),
}


def say(key: str, language: str, **values: object) -> str:
    """The sentence of ``key``; an unknown key stands for itself."""
    pair = WORDS.get(key)
    if pair is None:
        return key
    return pair[0 if language == "ko" else 1].format(**values)


def relation_text(relation: str, language: str) -> str:
    key = f"relation.{relation}"
    return say(key, language) if key in WORDS else relation


UNITS = {
    "/min": ("회/분", "/min"),
    "%": ("%", "%"),
    "Cel": ("°C", "°C"),
    "mm[Hg]": ("mmHg", "mmHg"),
    "mg/dL": ("mg/dL", "mg/dL"),
    "kg": ("kg", "kg"),
}


def unit_text(ucum: str, language: str) -> str:
    pair = UNITS.get(ucum)
    return ucum if pair is None else pair[0 if language == "ko" else 1]
