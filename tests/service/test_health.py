"""Alive, able to work, and how well: each door says the truth, also when something is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from doors_stage import Stage, assert_problem, make_stage
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service.keystore import KeyStoreUnreachable
from service.workflows import health, ticking


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return make_stage(tmp_path)


def metrics(stage: Stage) -> dict[str, float]:
    lines = stage.client.get("/metrics").text.splitlines()
    pairs = [line.split() for line in lines if line and not line.startswith("#")]
    return {name: float(value) for name, value in pairs}


def test_it_is_alive_although_nothing_else_works(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage.house.database, "read", broken(OperationalError("x", {}, Exception("gone"))))
    assert stage.client.get("/healthz").json == {"status": "ok"}


def test_it_is_ready_only_while_the_jobs_tick(stage: Stage) -> None:
    waiting = stage.client.get("/readyz")
    assert waiting.status_code == 503
    assert "ansim jobs" in waiting.json["checks"]["jobs"]
    ticking.beat(stage.house)
    assert stage.client.get("/readyz").json == {
        "status": "ok", "checks": {"database": "ok", "keys": "ok", "jobs": "ok"},
        "details": {
            "audit": "ok", "overdue_s": "0.0", "desk": "ok",
            "watchdog": "no watchdog is looking: start `ansim watchdog`",
        },
    }  # fmt: skip
    stage.clock.advance(11)
    assert stage.client.get("/readyz").status_code == 503


def test_it_is_not_ready_without_its_database_or_keys(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    ticking.beat(stage.house)
    with monkeypatch.context() as patched:
        patched.setattr(stage.house.database, "read", broken(OperationalError("secret-host", {}, Exception("gone"))))
        answer = stage.client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json["checks"]["database"] != "ok"
        assert "secret-host" not in answer.text
    with monkeypatch.context() as patched:
        patched.setattr(stage.house.keys, "check", broken(KeyStoreUnreachable("secret-host")))
        answer = stage.client.get("/readyz")
        assert answer.status_code == 503
        assert "secret-host" not in answer.text
    assert stage.client.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    "outage",
    [OperationalError("SELECT secret", {}, Exception("gone")), PoolTimeout("all taken"), KeyStoreUnreachable("gone")],
    ids=["database", "pool", "keys"],
)
def test_during_an_outage_every_door_says_try_again_and_an_sos_gets_through_after_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, outage: Exception
) -> None:
    band = stage.band(stage.patient())
    key = stage.key("incidents:read", "patients:read")
    upload = band.upload({"event": "sos"}, {"heart_rate_bpm": 70}, at=stage.clock())
    with monkeypatch.context() as patched:
        patched.setattr(stage.house.database, "read", broken(outage))
        patched.setattr(stage.house.database, "write", broken(outage))
        answers = [band.post(upload), stage.client.get("/v1/incidents", headers=key)]
        answers.append(stage.client.get("/metrics"))
        for answer in answers:
            body = assert_problem(answer, 503, "unavailable")
            assert "secret" not in body["detail"]
            assert int(answer.headers["Retry-After"]) > 0
    assert band.post(upload).status_code == 200
    assert stage.incidents() == 1


def test_the_metrics_count_what_is_there(stage: Stage) -> None:
    before = metrics(stage)
    assert before["ansim_open_incidents"] == 0
    assert before["ansim_oldest_overdue_step_seconds"] == 0
    band = stage.band(stage.patient())
    assert band.post(band.upload({"event": "sos"}, at=stage.clock())).status_code == 200
    stage.clock.advance(300)
    after = metrics(stage)
    assert after["ansim_open_incidents"] == 1
    assert after["ansim_outbox_waiting"] > 0
    assert after["ansim_oldest_overdue_step_seconds"] > 0
    assert after["ansim_events_total"] > before["ansim_events_total"]


def broken(error: Exception):  # type: ignore[no-untyped-def]
    def fail(*_args: object, **_kwargs: object) -> object:
        raise error

    return fail


def test_a_board_says_so_while_no_calls_go_out(stage: Stage) -> None:
    assert not health.calls_go_out(stage.house)
    ticking.beat(stage.house)
    assert health.calls_go_out(stage.house)
    stage.clock.advance(11)
    assert not health.calls_go_out(stage.house)


def test_a_message_that_nobody_sends_counts_as_overdue(stage: Stage) -> None:
    band = stage.band(stage.patient())
    press = {"seq": 1, "at": stage.clock().isoformat(), "event": "sos"}
    assert band.post(band.upload(press, at=stage.clock())).status_code == 200
    stage.clock.advance(45)
    assert metrics(stage)["ansim_oldest_unsent_seconds"] == pytest.approx(45, abs=1)
    assert metrics(stage)["ansim_oldest_overdue_step_seconds"] >= 44
