"""The people of the torture: patients with bands and telephones, contacts, a desk; made straight in the database."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import update

from devices.simulator import Scenario, Wearer
from service.store.tables import PersonPhone, table
from service.tools.wearable import Wearable
from service.workflows import contacts, people
from service.workflows import devices as device_flow
from service.workflows.house import House
from service.workflows.people import Care, Profile

UNTOLD = "숨은이름"
"""Part of every patient's name and address: whoever hears it before a key was pressed heard too much."""
SCOPES = ("incidents:read", "incidents:write", "patients:read")
SILENT_AFTER_S = 25.0
NEVER_S = 604_800.0
ROWS = 3
BATCH_S = 300.0


class Sign(StrEnum):
    """What happens to somebody."""

    SOS = "sos"
    FALL = "fall"
    SILENCE = "silence"
    VITALS = "vitals"


SHARES = {Sign.SOS: 0.5, Sign.FALL: 0.34, Sign.SILENCE: 0.08, Sign.VITALS: 0.08}


def dice(seed: float) -> random.Random:
    """Chance that can be repeated."""
    return random.Random(seed)  # noqa: S311 - nobody must not guess it


@dataclass
class Ward:
    """One virtual patient: what befalls them, whom they have, and what their band was ever answered."""

    number: int
    patient_id: UUID
    sign: Sign
    phone: str
    contacts: tuple[str, ...]
    band: Wearable
    wearer: Wearer
    boot_id: str = field(default_factory=lambda: str(uuid4()))
    next_seq: int = 1
    busy: threading.Lock = field(default_factory=threading.Lock)
    answered: list[UUID] = field(default_factory=list)
    """Upload ids that were answered 200."""
    signs: Counter[Sign] = field(default_factory=Counter)
    """Signs of theirs that were answered 200."""
    ill: bool = False
    measured: float = -BATCH_S
    """When their band last sent a batch of vital signs; two must not tell of the same minutes."""
    silent_since: float | None = None
    last_heard: float = 0.0

    def body(self, event: str | None = None) -> tuple[UUID, bytes]:
        """An ordinary upload, with an event where one is given."""
        now = datetime.now(UTC).isoformat()
        rows: list[dict[str, Any]] = [
            {"seq": self.next_seq + i, "at": now, "heart_rate_bpm": 70 + i, "spo2_pct": 97} for i in range(ROWS)
        ]
        if event is not None:
            rows.append({"seq": self.next_seq + ROWS, "at": now, "event": event})
        self.next_seq += ROWS + 1
        upload_id = uuid4()
        upload = {"upload_id": str(upload_id), "boot_id": self.boot_id, "sent_at": now, "readings": rows}
        return upload_id, json.dumps(upload).encode()

    def batch(self) -> tuple[UUID, bytes]:
        """Five minutes of a racing heart at rest in one batch; the next one is of somebody who is well again."""
        self.ill, self.measured = not self.ill, time.monotonic()
        self.wearer.scenario = Scenario.RESTING_TACHYCARDIA if self.ill else Scenario.WELL
        self.wearer.restart()
        body = self.wearer.live(datetime.now(UTC), n=int(BATCH_S), step_s=1.0)
        assert body is not None  # noqa: S101 - only a silent wearer says nothing
        return UUID(body["upload_id"]), json.dumps(body).encode()


@dataclass
class Town:
    wards: list[Ward]
    service_key: str
    organisation_id: UUID


def settle(house: House, url: str, patients: int, rng: random.Random) -> Town:
    """Everybody there is, with a band each."""
    organisation_id = people.add_organisation(house, "torture")
    key = people.add_service_key(house, organisation_id, "console", SCOPES)
    signs = [sign for sign, share in SHARES.items() for _ in range(max(1, round(share * patients)))]
    rng.shuffle(signs)
    wards = [_ward(house, url, organisation_id, number, sign) for number, sign in enumerate(signs)]
    with house.database.write() as tx:
        # Numbers were proven at enrolment, as everywhere: otherwise each home's first warning is that nobody is.
        tx.conn.execute(update(table(PersonPhone)).values(verified_at=house.clock()))
    return Town(wards, key, organisation_id)


def _ward(house: House, url: str, organisation_id: UUID, number: int, sign: Sign) -> Ward:
    own = f"+821020{number:06d}"
    rungs = tuple(f"+82103{place}{number:06d}" for place in range(2))
    profile = Profile(name=f"{UNTOLD}{number}", phones=[own])
    care = Care(address=f"{UNTOLD}로 {number}")
    # A district each: what is silent together must not look like one area's outage.
    patient_id = people.add_patient(
        house, organisation_id, profile, care, district_code=f"{number:05d}", simulated=True
    )
    for position, phone in enumerate(rungs):
        contacts.add(
            house,
            organisation_id,
            patient_id,
            Profile(name=f"contact {number}.{position}", phones=[phone]),
            relation="",
            position=position,
            language="ko",
        )
    band = _band(house, url, patient_id, SILENT_AFTER_S if sign is Sign.SILENCE else NEVER_S)
    return Ward(number, patient_id, sign, own, rungs, band, Wearer(seed=number))


def _band(house: House, url: str, patient_id: UUID, silent_after_s: float) -> Wearable:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    lasting = replace(house, settings=replace(house.settings, silent_after_s=silent_after_s))
    code = device_flow.issue_code(lasting, patient_id)
    device_id, _ = device_flow.enrol_device(lasting, code, alg="ed25519", public_key=public, model="torture")
    session = requests.Session()
    session.trust_env = False
    return Wearable(url, str(device_id), key, session)


# What people do when they are rung, and how likely: (behaviour, keys at each menu, weight).
CONTACT_WAYS: Sequence[tuple[str, list[str], float]] = (
    ("answer", ["3"], 70),
    ("answer", ["", "3"], 6),
    ("answer", ["4"], 8),
    ("answer", ["7", "3"], 2),
    ("answer", [], 10),
    ("answer", ["9"], 0.2),
    ("busy", [], 12),
    ("no_answer", [], 10),
    ("voicemail", [], 10),
    ("reject", [], 8),
    ("unreachable", [], 3),
)
PATIENT_WAYS: Sequence[tuple[str, list[str], float]] = (
    ("answer", ["2"], 36),
    ("answer", ["1"], 10),
    ("answer", ["", "1"], 3),
    ("answer", [], 10),
    ("no_answer", [], 20),
    ("voicemail", [], 8),
    ("busy", [], 4),
    ("reject", [], 3),
)
DESK_WAYS: Sequence[tuple[str, list[str], float]] = (
    ("answer", ["3"], 60),
    ("answer", [], 15),
    ("busy", [], 15),
    ("no_answer", [], 10),
)
CALLBACKS = {"normal": 64, "late": 10, "twice": 10, "reordered": 10, "lost": 6}
AHEAD = 4


def plans(ways: Sequence[tuple[str, list[str], float]], rng: random.Random, most: int = AHEAD) -> dict[str, Any]:
    """What the next calls to one telephone meet; the last of them takes the case, and stays."""
    chosen = rng.choices(ways, [way[2] for way in ways], k=most)
    modes = rng.choices(list(CALLBACKS), list(CALLBACKS.values()), k=most)
    calls = [
        {"behaviour": behaviour, "digits": digits, "delay_s": rng.uniform(0.5, 8.0), "callbacks": mode}
        for (behaviour, digits, _), mode in zip(chosen, modes, strict=True)
    ]
    return {"calls": [*calls, willing(ways)]}


def willing(ways: Sequence[tuple[str, list[str], float]]) -> dict[str, Any]:
    """Somebody who picks up and presses the key that helps."""
    return {"behaviour": "answer", "digits": ways[0][1], "delay_s": 1.0}
