"""Looking at a policy before it goes live: what is wrong with it, who would be rung when, what a cohort makes of it."""

from __future__ import annotations

import hmac
import threading
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec

from dispatch import policies as rules
from dispatch.cohort import Size
from dispatch.cohort_parameters import KINDS
from dispatch.cohort_report import AGAINST, ASK, Report, report
from dispatch.dry_run import CASES, DESK, PATIENT, condition, dry_run, example, line_text
from dispatch.policies import Document, PolicyError
from dispatch.policy_words import problem_text
from service.store import people as people_store
from service.store import policies as store
from service.workflows import people, policies, policy_history
from service.workflows.house import House
from service.workflows.policies import WITHDRAWN, Place, Scope

SIZE = Size(homes=800, years=2.0)
"""A second of one core; ``ansim cohort`` plays more."""
MINUTES = 4.0
_one_at_a_time = threading.Lock()
"""Playing a cohort must not crowd out readings."""


class Wrong(msgspec.Struct, kw_only=True):
    """Something wrong with a document."""

    line: int
    argument: str
    value: str
    code: str
    text: str


class DryLine(msgspec.Struct, kw_only=True):
    """Something that would happen."""

    at_s: float
    what: str
    who: str
    channel: str
    text: str


class Figure(msgspec.Struct, kw_only=True):
    """One figure of the cohort, under the new policy and the one in force."""

    measure: str
    kind: str
    new: float
    in_force: float
    difference: float | None
    """New less in force; for ``*_rings`` and ``*_dispatches`` as a share of what is in force. None where none was."""
    ci_low: float | None
    ci_high: float | None


class Check(msgspec.Struct, kw_only=True):
    """What came of a look at a document."""

    valid: bool
    problems: list[Wrong] = []
    dry_run: dict[str, list[DryLine]] = {}
    """By case: sos, grave, high, medium, silent. Nobody answers, two contacts, noon."""
    cohort: list[Figure] = []
    false_dispatch_cut: float | None = None
    """How many false dispatches fewer than without asking first, where the person is asked."""


def check(text: str, language: str, in_force: Document, *, cohort: bool = True) -> Check:
    """Look at a document.

    Parameters
    ----------
    text : str
        As typed.
    language : str
        ``ko`` or ``en``, of every sentence.
    in_force : Document
        What it would replace.
    cohort : bool
        Whether to play the simulated homes too (a second).
    """
    try:
        document = rules.parse(policies.normal(text))
    except PolicyError as error:
        wrong = [
            Wrong(
                line=one.line,
                argument=one.argument,
                value=one.value,
                code=one.code.value,
                text=problem_text(one, language),
            )
            for one in error.problems
        ]
        return Check(valid=False, problems=wrong)
    plan = example(document.policy)
    shown = {case: _dry(dry_run(plan, [condition(case)], minutes=MINUTES), language) for case in CASES}
    if not cohort:
        return Check(valid=True, dry_run=shown)
    with _one_at_a_time:
        played = _played(policies.normal(text), in_force.rendered())
    cut = played.value("false_dispatch_cut", "asked")
    return Check(valid=True, dry_run=shown, cohort=_figures(played), false_dispatch_cut=cut)


@lru_cache(maxsize=16)
def _played(text: str, in_force: str) -> Report:
    return report(rules.parse(text), against=rules.parse(in_force), peers=False, size=SIZE)


def _dry(lines: list[Any], language: str) -> list[DryLine]:
    def name_of(who: str) -> str:
        number = int(who.removeprefix("person:")[-2:], 16)
        return f"연락처 {number}" if language == "ko" else f"contact {number}"

    return [
        DryLine(
            at_s=one.at_s,
            what=one.what,
            who=one.who if one.who in {PATIENT, DESK, "system"} else name_of(one.who),
            channel=one.channel,
            text=line_text(one, language, name_of),
        )
        for one in lines
    ]


def _figures(played: Report) -> list[Figure]:
    rows = {(row.measure, row.kind, row.policy): row for row in played.rows}
    wanted = [("time_to_human_p50_s", kind, "added_s_against", 1.0) for kind in KINDS]
    wanted += [
        ("needless_rings_per_home_year", "all", "needless_rings_cut_against", -1.0),
        ("false_dispatches_per_1000_home_days", "all", "false_dispatch_cut_against", -1.0),
    ]
    found = []
    for measure, kind, compared, sign in wanted:
        new, old = rows.get((measure, kind, ASK)), rows.get((measure, kind, AGAINST))
        if new is None or old is None:
            continue
        gap = rows.get((compared, kind, ASK))
        ends = [] if gap is None else [end * sign for end in (gap.ci_low, gap.ci_high) if end is not None]
        found.append(
            Figure(
                measure=measure,
                kind=kind,
                new=new.value,
                in_force=old.value,
                difference=None if gap is None else gap.value * sign,
                ci_low=min(ends, default=None),
                ci_high=max(ends, default=None),
            )
        )
    return found


# --- what is in force, for the pages and for machines


class ScopeRecord(msgspec.Struct, kw_only=True):
    """One published version."""

    scope: str
    district_code: str
    patient_id: UUID | None
    version: str
    number: int
    """Counts on within the organisation."""
    title: str
    """Empty when withdrawn: the wider scope holds again."""
    author_id: UUID
    author: str
    at: datetime
    text: str
    holds: bool = True
    """False where it is withdrawn, or no longer fits the rules: the wider scope holds instead."""
    difference: list[str] = []
    """What changed since what was in force before, as a unified diff: of the texts, or of the values where the wider
    scope's document held before or holds after."""
    again: int | None = None
    """The number of an earlier version of this scope with the very same text: that one is in force again."""


def scopes(house: House, organisation_id: UUID) -> list[ScopeRecord]:
    """The latest version of every scope."""
    return _records(house, policies.scopes(house, organisation_id))


def history(house: House, organisation_id: UUID, where: Place) -> list[ScopeRecord]:
    """Every version of one scope, newest first, each with what it changed."""
    rows = policies.history(house, organisation_id, where)
    found = _records(house, rows)
    changed = policy_history.differences(house, organisation_id, where, rows)
    for one, lines, earlier in zip(found, changed, policy_history.again(rows), strict=True):
        one.difference, one.again = lines, earlier
    return found


def changes(house: House, organisation_id: UUID, where: Place, text: str) -> list[str]:
    """What a document would change of what is in force now, as a unified diff."""
    document, version, before = in_force(house, organisation_id, where)
    with house.database.read() as tx:
        newest = policies.latest_of(tx, organisation_id, where)
    own = newest is not None and policies.version_name(newest) == version
    return policy_history.changes(own, document, policies.normal(text), before)


def _records(house: House, rows: list[Any]) -> list[ScopeRecord]:
    with house.database.read() as tx:
        names = people.profiles(house, tx, {row.author_id for row in rows})
    return [
        ScopeRecord(
            scope=row.scope,
            district_code=row.district_code,
            patient_id=row.patient_id,
            version=policies.version_name(row),
            number=row.version,
            title=title or "",
            author_id=row.author_id,
            author=names[row.author_id].name if row.author_id in names else str(row.author_id)[:8],
            at=row.created_at,
            text=row.text,
            holds=title is not None,
        )
        for row in rows
        for title in [_title(row.text)]
    ]


def _title(text: str) -> str | None:
    if text == WITHDRAWN:
        return None
    try:
        return rules.parse(text).title
    except PolicyError:
        return None


def in_force(house: House, organisation_id: UUID, where: Place) -> tuple[Document, str, str]:
    """What holds for a scope now: document, version, and the text to begin an own one with."""
    with house.database.read() as tx:
        district_code, patient_id = where.district_code, where.patient_id
        if patient_id is not None:
            patient = people_store.patient(tx, patient_id)
            if patient is None or patient.organisation_id != organisation_id:
                raise LookupError(f"no patient {patient_id}")
            district_code = patient.district_code
        for row in store.holding(tx, organisation_id, district_code, patient_id):
            narrow = row.scope == Scope.DISTRICT and where.scope == Scope.ORGANISATION
            if not narrow and _title(row.text) is not None:
                return rules.parse(row.text), policies.version_name(row), row.text
    return rules.parse(rules.DEFAULT), rules.DEFAULT_VERSION, rules.DEFAULT


def districts(house: House, organisation_id: UUID) -> list[str]:
    """The districts in which the organisation's people live."""
    with house.database.read() as tx:
        return store.districts(tx, organisation_id)


def mark(house: House, organisation_id: UUID, where: Place, text: str) -> str:
    """Proof that just this text was checked for just this scope: only what was checked is published."""
    said = f"{organisation_id}\n{where.scope}\n{where.district_code}\n{where.patient_id}\n{policies.normal(text)}"
    return house.keys.blind_index("policy_check", said).hex()


def was_checked(house: House, organisation_id: UUID, where: Place, text: str, given: str) -> bool:
    return hmac.compare_digest(mark(house, organisation_id, where, text).encode(), given.encode())
