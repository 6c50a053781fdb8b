"""A case played from the press to its closing, for the tests of proofs: readings, calls, a key, 119, arrival, cause."""

from __future__ import annotations

import json
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from doors_stage import Band, Stage
from doors_stage import make_stage as make_doors

from service import cli
from service.store import incidents as incident_store
from service.store import outbox
from service.store.proof_copy import open_copy
from service.workflows import cases, incidents, looks, proof, sending
from service.workflows.proof_chains import Report
from service.workflows.proof_verify import Pin, check

__all__ = ["Played", "copy_of", "play", "run", "verified"]


@dataclass
class Played:
    stage: Stage
    patient_id: UUID
    caregiver_id: UUID
    dispatcher_id: UUID
    incident_id: UUID
    band: Band

    @property
    def file(self) -> Path:
        return self.stage.folder / "ansim.db"

    def act(self, action: str, **fields: str) -> None:
        incidents.act(self.stage.house, self.dispatcher_id, "dispatcher", self.incident_id, action, fields)

    def sign(self) -> int:
        return proof.sign_closed(self.stage.house)

    def closes(self, reason: str = "needed_help") -> None:
        self.act("close", reason=reason)
        self.sends()
        self.stage.clock.advance(60)
        self.sign()

    def sends(self) -> None:
        with ThreadPoolExecutor(2) as pool:
            for future in wait(sending.send_pending(self.stage.house, "w", pool)).done:
                future.result()

    def case(self) -> Any:
        with self.stage.house.database.read() as tx:
            return cases.open_case(self.stage.house, incident_store.incident(tx, self.incident_id))


def play(folder: Path, *, close: bool = True, called: bool = True, stage: Stage | None = None) -> Played:
    """Readings, the help button, a call that is answered with 3, 119, arrival; closed and signed unless told not to."""
    stage = stage or make_doors(folder)
    patient_id = stage.patient()
    caregiver_id = stage.person("caregiver", patient_id=patient_id, phone="+821055550001", name="김민지")
    dispatcher_id = stage.person("dispatcher", name="이서연")
    band = stage.band(patient_id)
    for _ in range(3):
        stage.clock.advance(60)
        vitals = {"heart_rate_bpm": 74, "spo2_pct": 97, "worn": True}
        assert band.post(band.upload(vitals, at=stage.clock())).status_code == 200
    stage.clock.advance(30)
    assert band.post(band.upload({"event": "sos"}, at=stage.clock())).status_code == 200
    with stage.house.database.read() as tx:
        [row] = [r for r in incident_store.all_open_incidents(tx) if r.patient_id == patient_id]
    played = Played(stage, patient_id, caregiver_id, dispatcher_id, row.id, band)
    played.sends()
    played.stage.clock.advance(5)
    _takes(played)
    looks_at(played)
    played.act("note", text="따님과 통화함")
    if not called:
        return played
    played.act("dispatch", reference="119-2026-0042", called_at="")
    for state in ("en_route", "on_scene", "at_patient"):
        stage.clock.advance(120)
        played.act("progress", state=state)
    if close:
        played.closes()
    return played


def _takes(played: Played) -> None:
    """The contact's telephone is answered, key 3 is pressed, and the call ends."""
    with played.stage.house.database.read() as tx:
        rows = outbox.notifications_of(tx, [played.incident_id])
    [call] = [r for r in rows if r.step == "contact" and r.channel == "voice"]
    form = {"CallSid": str(call.provider_id), "CallStatus": "in-progress", "To": "+821055550001"}
    for kind, more in (
        ("answer", {}),
        ("digits", {"Digits": "3"}),
        ("status", {"CallStatus": "completed", "CallDuration": "21"}),
    ):
        path = f"/v1/telephony/twilio/{kind}/{call.id}"
        answer = played.stage.callback(path, form | more)
        assert answer.status_code < 300, (kind, answer.status_code, answer.text)


def looks_at(played: Played) -> None:
    looks.note_access(
        played.stage.house, played.patient_id, played.dispatcher_id, "dispatcher", "incident", played.incident_id,
        again_after=timedelta(0),
    )  # fmt: skip


def copy_of(played: Played, where: Path) -> Path:
    """A copy of the data as it stands, in one file."""
    with sqlite3.connect(played.file) as live:
        live.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    where.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(played.file, where)
    return where


def verified(where: Path | str, pin: Pin | None = None) -> Report:
    with open_copy(str(where)) as copy:
        return check(copy, pin)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    code = cli.main(["verify", "--json", *words])
    out = capsys.readouterr().out
    return code, json.loads(out) if out else None
