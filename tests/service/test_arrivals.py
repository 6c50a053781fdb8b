"""Uploads committed together: the same answers, states and conditions as one by one, whatever shares the commit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Row

from devices.reading import UploadError, parse
from service.app import build_house
from service.config import Settings
from service.store import incidents as case_store
from service.store import readings as store
from service.store import schema
from service.tools import stage
from service.workflows import arrivals, devices, memory, people, readings, uploads
from service.workflows import devices as device_flow
from service.workflows.arrivals import Arrival
from service.workflows.house import House
from service.workflows.people import Care, Profile

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    environ = stage.demonstration(tmp_path, 18080)
    if request.param == "postgresql":
        fresh: Callable[[str], str] = request.getfixturevalue("postgres")
        environ["ANSIM_DATABASE_URL"] = fresh("database")
    built = build_house(Settings.from_env(environ), clock=lambda: NOW)
    schema.upgrade(built.database)
    yield built
    built.database.dispose()


@pytest.fixture
def wearer(house: House) -> Callable[[], Row[Any]]:
    """Makes a person with an enrolled device."""
    organisation_id = people.add_organisation(house, "test")

    def make() -> Row[Any]:
        patient_id = people.add_patient(house, organisation_id, Profile(name="x"), Care(), district_code="1")
        key = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
        code = device_flow.issue_code(house, patient_id)
        device_id, _ = device_flow.enrol_device(house, code, alg="ed25519", public_key=key, model="m")
        row, _ = devices.find(house, str(device_id))
        assert row is not None
        return row

    return make


BOOT = uuid4()


def body(minute: int, spo2: float = 97, upload_id: UUID | None = None) -> bytes:
    """One minute of somebody at rest."""
    series = {
        "first_seq": 1 + 60 * minute,
        "start": (NOW - timedelta(hours=1) + timedelta(minutes=minute)).isoformat(),
        "step_s": 1.0,
        "heart_rate_bpm": [70 + i % 3 for i in range(60)],
        "spo2_pct": [spo2] * 60,
    }
    said = {
        "upload_id": str(upload_id or uuid4()),
        "boot_id": str(BOOT),
        "sent_at": NOW.isoformat(),
        "series": [series],
    }
    return msgspec.json.encode(said)


def arriving(house: House, device: Row[Any], said: bytes, nonce: str | None = None) -> Arrival:
    parsed = parse(said, uploads.micros(NOW))
    digest = hashlib.sha256(said).digest()
    return arrivals._prepare(house, device, parsed, digest, nonce or uuid4().hex, NOW)


def together(house: House, *arrived: Arrival, careful: bool = False) -> list[Any]:
    with house.database.write() as tx:
        return arrivals._accept_many(tx, list(arrived), careful)


def verdicts(outcome: Any) -> list[Any]:
    assert isinstance(outcome, arrivals.Accepted), outcome
    return msgspec.json.decode(outcome.body)["verdicts"]


def state_of(house: House, device: Row[Any]) -> tuple[int, bytes]:
    with house.database.read() as tx:
        row = store.detector_state(tx, device.patient_id)
    assert row is not None
    return row.version, memory.open_state(house, row)


def kept(house: House, device: Row[Any]) -> list[tuple[int, int, bool]]:
    with house.database.read() as tx:
        rows = store.uploads_between(tx, device.patient_id, NOW - timedelta(days=1), NOW)
        assert all(uploads.open_batch(house, row).seq.size == row.instants for row in rows)
    return sorted((row.first_seq, row.instants, row.detected_at is not None) for row in rows)


def codes(house: House, device: Row[Any]) -> list[str]:
    with house.database.read() as tx:
        return sorted(row.code for row in case_store.conditions_of(tx, device.patient_id))


def test_the_short_way_leaves_what_the_long_way_leaves(house: House, wearer: Callable[[], Row[Any]]) -> None:
    quick, thorough = wearer(), wearer()
    for minute in range(8):
        spo2 = 97 if minute < 3 else 82
        answers = [
            together(house, arriving(house, device, body(minute, spo2)), careful=careful)[0]
            for device, careful in ((quick, False), (thorough, True))
        ]
        assert verdicts(answers[0]) == verdicts(answers[1]) == [{"from": 60 * minute + 1, "to": 60 * minute + 60,
                                                                "verdict": "stored"}]  # fmt: skip
        assert state_of(house, quick) == state_of(house, thorough)
    assert kept(house, quick) == kept(house, thorough)
    assert codes(house, quick) == codes(house, thorough) == ["spo2_low"]


def test_several_uploads_of_one_patient_in_one_commit_are_judged_one_after_another(
    house: House, wearer: Callable[[], Row[Any]]
) -> None:
    grouped, single, other = wearer(), wearer(), wearer()
    outcomes = together(
        house,
        *(arriving(house, grouped, body(minute)) for minute in range(3)),
        arriving(house, other, body(0)),
    )
    assert [v[0]["verdict"] for v in map(verdicts, outcomes)] == ["stored"] * 4
    for minute in range(3):
        together(house, arriving(house, single, body(minute)))
    assert state_of(house, grouped) == state_of(house, single)
    assert kept(house, grouped) == [(1, 60, True), (61, 60, True), (121, 60, True)]


def test_a_repetition_in_the_same_commit_is_answered_with_the_same_bytes(
    house: House, wearer: Callable[[], Row[Any]]
) -> None:
    device, upload_id = wearer(), uuid4()
    said = body(0, upload_id=upload_id)
    first, again = together(house, arriving(house, device, said, "n"), arriving(house, device, said, "n"))
    assert (first.replayed, again.replayed) == (False, True)
    assert first.body == again.body
    (other,) = together(house, arriving(house, device, body(1, upload_id=upload_id)))
    assert isinstance(other, UploadError)
    assert other.code == "upload_id_reused"
    (nonce,) = together(house, arriving(house, device, body(1), "n"))
    assert nonce.code == "nonce_reused"


def test_a_refused_upload_does_not_harm_its_neighbours(house: House, wearer: Callable[[], Row[Any]]) -> None:
    device, revoked = wearer(), wearer()
    assert device_flow.revoke_device(house, revoked.id, NOW)
    assert revoked.revoked_at is None, "as a remembered row has it"
    refused, accepted = together(house, arriving(house, revoked, body(0)), arriving(house, device, body(0)))
    assert (refused.status, refused.code) == (401, "device_revoked")
    assert verdicts(accepted)[0]["verdict"] == "stored"
    assert kept(house, revoked) == []


def test_numbers_met_before_get_verdicts_of_their_own(house: House, wearer: Callable[[], Row[Any]]) -> None:
    device = wearer()
    together(house, arriving(house, device, body(0)))
    same, differing = together(house, arriving(house, device, body(0)), arriving(house, device, body(0, spo2=90)))
    assert verdicts(same)[0]["verdict"] == "duplicate"
    assert verdicts(differing)[0]["code"] == "seq_conflict"
    assert kept(house, device) == [(1, 60, True)]


def test_a_detector_that_fails_for_one_person_costs_nobody_else_their_look(
    house: House, wearer: Callable[[], Row[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ill, well = wearer(), wearer()
    real = arrivals.analyse

    def failing(states: Any, batches: Any, *more: Any) -> Any:
        if any((batch.values[:, 2] == 91).any() for batch in batches):
            raise ZeroDivisionError
        return real(states, batches, *more)

    monkeypatch.setattr(arrivals, "analyse", failing)
    monkeypatch.setattr(readings, "analyse", failing)
    outcomes = together(house, arriving(house, ill, body(0, spo2=91)), arriving(house, well, body(0)))
    assert [verdicts(outcome)[0]["verdict"] for outcome in outcomes] == ["stored", "stored"]
    assert kept(house, ill) == [(1, 60, False)]
    assert codes(house, ill) == ["detection_failed"]
    assert kept(house, well) == [(1, 60, True)]
    assert codes(house, well) == []
    monkeypatch.setattr(readings, "analyse", real)
    together(house, arriving(house, ill, body(1)))
    assert kept(house, ill) == [(1, 60, True), (61, 60, True)], "what was owed blocks what comes later until swept"


def test_a_group_that_cannot_be_written_comes_again_one_by_one(
    house: House, wearer: Callable[[], Row[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    device = wearer()

    def broken(*_: Any) -> None:
        raise RuntimeError("short way closed")

    monkeypatch.setattr(arrivals, "_write", broken)
    accepted = arrivals.accept_readings(house, device, body(0), digest=b"d", nonce="n")
    assert verdicts(accepted)[0]["verdict"] == "stored"
    assert kept(house, device) == [(1, 60, True)]


def test_a_memory_that_opens_to_nonsense_is_begun_anew_and_reported(
    house: House, wearer: Callable[[], Row[Any]]
) -> None:
    device = wearer()
    together(house, arriving(house, device, body(0)))
    version, state = state_of(house, device)
    with house.database.write() as tx:
        memory.save(house, tx, device.patient_id, version + 1, state[:4000], NOW, None)
    together(house, arriving(house, device, body(1)))
    assert state_of(house, device)[0] == version + 2
    assert codes(house, device) == ["record_unreadable"]
