"""Policies in the whole house, and that the cohort's telephones ring as the loopback network's do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from journey_people import Home, Person
from journey_stage import Stage

from dispatch import messages
from dispatch.alarm import AlarmCondition
from dispatch.incident import Incident, Step, Target
from dispatch.rehearsal import Behaviour, Kind, Rehearsal
from service.loopback.life import PRESS_S
from service.workflows import people, policies
from service.workflows.people import Profile
from service.workflows.policies import Place, Scope

TICK_S = 1.0
"""Two clocks that look at different moments may differ by a tick."""


@dataclass(frozen=True)
class Does:
    """What one telephone does, call after call; the last one stays."""

    plans: tuple[tuple[str, float, str], ...]

    def on(self, phone: Any) -> None:
        phone.behaves(*[
            {"behaviour": kind, "delay_s": after_s, "digits": [key] if key else []} for kind, after_s, key in self.plans
        ])  # fmt: skip

    def call(self, number: int, menu_s: float) -> Behaviour:
        kind, after_s, key = self.plans[min(number, len(self.plans) - 1)]
        return Behaviour(Kind(kind), after_s, key, menu_s)


OUT = Does((("no_answer", 0.0, ""),))
HOUSES: dict[str, tuple[str, Does, Does, Does]] = {
    "first takes it": ("sos", OUT, Does((("answer", 4.0, "3"),)), OUT),
    "busy, then the second takes it": ("sos", OUT, Does((("busy", 1.0, ""),)), Does((("answer", 9.0, "3"),))),
    "second round": (
        "sos", OUT, Does((("no_answer", 0.0, ""), ("answer", 6.0, "3"))), Does((("voicemail", 12.0, ""),)),
    ),
    "nobody but the desk": ("sos", OUT, OUT, Does((("reject", 3.0, ""),))),
    "a fall, nobody says anything": ("fall", OUT, Does((("answer", 5.0, "4"),)), Does((("answer", 7.0, "3"),))),
    "a fall, and help is pressed": ("fall", Does((("answer", 8.0, "2"),)), Does((("answer", 3.0, "3"),)), OUT),
    "a fall, answered at the second ring": (
        "fall", Does((("no_answer", 0.0, ""), ("answer", 6.0, "2"))), OUT, Does((("answer", 4.0, "3"),)),
    ),
}  # fmt: skip
DESK_PLAN = Does((("answer", 2.0, "3"),))


def menu_s(stage: Stage, target: Target) -> float:
    """How long this network takes from the first word of the first menu to the key."""
    prompt = {Target.PATIENT: messages.ask_prompt, Target.DESK: messages.desk_menu}.get(target, messages.contact_menu)
    return len(prompt("ko").lines) * stage.network.speech_s + PRESS_S


def rung(stage: Stage, home: Home, people_of: list[Person]) -> list[tuple[str, float]]:
    """Who was rung when, seconds after the case opened."""
    began = stage.incidents(home)[-1].opened_at
    phones = {"patient": home.phone, "desk": stage.desk} | {p.name: p.phone for p in people_of}
    calls = [(who, call) for who, phone in phones.items() for call in [*phone.calls, *phone.asked_beside]]
    return sorted(((who, (c.times["created"] - began).total_seconds()) for who, c in calls), key=lambda call: call[1])


def rehearsed(stage: Stage, incident: Incident, names: dict[UUID, str], does: dict[str, Does]) -> Rehearsal:
    counts: dict[str, int] = {}

    def phones(step: Step, _at_s: float) -> Behaviour:
        who = {Target.PATIENT: "patient", Target.DESK: "desk"}.get(step.target) or names[step.person_id or UUID(int=0)]
        counts[who] = counts.get(who, -1) + 1
        return does[who].call(counts[who], menu_s(stage, step.target))

    conditions: list[AlarmCondition] = [reason.condition for reason in incident.reasons]
    return Rehearsal(incident.policy, conditions, phones, start=incident.times["opened_at"])


@pytest.mark.parametrize("house", HOUSES)
def test_a_household_of_the_cohort_rings_as_the_loopback_house_does(stage: Stage, house: str) -> None:
    event, asked, first, second = HOUSES[house]
    son, daughter = stage.person("김도윤"), stage.person("김민지")
    home = stage.home(son, daughter)
    does = {"patient": asked, son.name: first, daughter.name: second, "desk": DESK_PLAN}
    for who, phone in (("patient", home.phone), (son.name, son.phone), (daughter.name, daughter.phone)):
        does[who].on(phone)
    DESK_PLAN.on(stage.desk)
    home.band.presses(event)
    stage.advance_until(lambda: stage.case(home).acknowledged, within_s=600)
    case = stage.case(home)
    acknowledged_s = (case.times["acknowledged_at"] - case.times["opened_at"]).total_seconds()
    real = [one for one in rung(stage, home, [son, daughter]) if one[1] <= acknowledged_s]
    stage.finish_calls()

    played = rehearsed(stage, case, {son.id: son.name, daughter.id: daughter.name}, does)
    played.run(600)
    assert played.at_s == pytest.approx(acknowledged_s, abs=TICK_S)
    names = {son.id: son.name, daughter.id: daughter.name}
    pure = [
        ({Target.PATIENT: "patient", Target.DESK: "desk"}.get(one.step.target) or names[one.step.person_id], one.at_s)
        for one in played.sent
        if one.step.channel == "voice" and one.step.kind != "inform"
    ]
    assert [who for who, _ in sorted(pure, key=lambda c: (round(c[1]), c[0]))] == [
        who for who, _ in sorted(real, key=lambda c: (round(c[1]), c[0]))
    ]
    for (_, at_s), (_, real_s) in zip(sorted(pure, key=lambda c: c[1]), real, strict=True):
        assert at_s == pytest.approx(real_s, abs=TICK_S)


def operator(stage: Stage) -> UUID:
    return people.add_person(stage.house, stage.organisation_id, Profile(name="정하늘"))


def test_a_published_overlap_is_when_the_family_is_rung_from_the_next_case_on(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    home.phone.rings_out()
    where = Place(scope=Scope.DISTRICT, district_code="26350")
    version = policies.publish(
        stage.house, stage.organisation_id, operator(stage), where, 'title = "slower"\n[ask]\noverlap_s = 40\n'
    )
    home.band.measures()
    home.band.presses("fall")
    stage.advance(39)
    daughter.phone.answers("3")
    stage.advance(3)
    assert (stage.case(home).policy.version, daughter.phone.rang) == (version, 1)
    stage.finish_calls()
    assert stage.case(home).acknowledged


def test_an_sos_rings_at_once_under_the_slowest_policy_that_can_be_published(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    slowest = 'title = "slowest"\n[ask]\noverlap_s = 60\nbudget_s = 180\nattempt_s = 90\n[contacts]\nstep_s = 90\n'
    policies.publish(stage.house, stage.organisation_id, operator(stage), Place(), slowest)
    daughter.phone.answers("3")
    home.band.sos()
    assert daughter.phone.rang == 1
    stage.finish_calls()
    assert stage.case(home).acknowledged


def test_a_land_line_is_rung_and_never_written_to(stage: Stage) -> None:
    uncle = stage.person("김철수", "+82515550177")
    daughter = stage.person("김민지")
    home = stage.home(uncle, daughter)
    uncle.phone.rings_out()
    daughter.phone.answers("3")
    home.band.sos()
    stage.advance_until(lambda: stage.case(home).acknowledged, within_s=120)
    stage.finish_calls()
    sent = [(row.step, row.channel) for row in stage.outbox(home) if row.target_id == uncle.id]
    # That somebody has it is told by voice too: there is nothing to read on.
    assert sent == [("contact", "voice"), ("tell", "voice")]
    assert uncle.phone.texts == []
