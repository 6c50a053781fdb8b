"""Every invariant of the dispatch engine is broken on purpose somewhere, and a test is named that notices."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "mutations"
INVARIANTS = {
    1: "never orphan: closed with a reason, held with a deadline, or one future due step",
    2: "atomic: state, audit and outbox commit together or not at all",
    3: "unique: a step to a target by a channel is one row, however often it is attempted",
    4: "at least once: a committed message is delivered, expired by policy or cancelled by an acknowledgement",
    5: "lease: no two live workers hold one message",
    6: "an acknowledgement beats the timer: no page is claimed after it",
    7: "monotonic: states move along allowed edges, callbacks never regress them",
    8: "delivered is not acknowledged",
    9: "isolated: one target's failure never delays another's",
    10: "clock: a jump fires nothing twice and delays nothing beyond its own step",
    11: "unit safety: one unit, one active assignment",
    12: "watchdog: an independent process rings a human",
    13: "ask first, in parallel, and who may be believed when",
    14: "acknowledging stops paging, not dispatch; without progress it returns to the queue",
    15: "a human sends",
    16: "nothing learnt or set can silence the grave",
    17: "nothing is said to the wrong ear",
    18: "bounded noise and cost",
}


def entries() -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for path in sorted(FOLDER.glob("*.toml")):
        found += tomllib.loads(path.read_text("utf-8")).get("mutation", ())
    return found


@pytest.mark.parametrize("number", INVARIANTS)
def test_every_invariant_is_broken_on_purpose_somewhere(number: int) -> None:
    named = [one for one in entries() if one.get("invariant") == number]
    assert named, f"no mutation breaks invariant {number}, {INVARIANTS[number]}"


def test_no_mutation_names_an_invariant_that_does_not_exist() -> None:
    assert {one["invariant"] for one in entries() if "invariant" in one} <= set(INVARIANTS)
