"""Everybody who does something: bands that post, people at the board who claim, take, send and close."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import requests

from service.tools.torture.board import Board, CaseNow
from service.tools.torture.carrier import Carrier
from service.tools.torture.town import (
    BATCH_S,
    CONTACT_WAYS,
    DESK_WAYS,
    PATIENT_WAYS,
    SILENT_AFTER_S,
    Sign,
    Town,
    Ward,
    dice,
    plans,
    willing,
)

POSTERS = 20
STAFF = 20
REST_S = 0.1
REFUSED_S = 0.5
"""Rest after an answer that says "later", or none."""
LOOKED_AFTER = 0.75
PATIENCE_S = (10.0, 30.0)
ANSWER_MOST_S = 240.0
BEAT_S = SILENT_AFTER_S / 3


@dataclass
class Crowd:
    """The load. ``wanted`` says how many signs may have happened by now."""

    town: Town
    board: Board
    carrier: Carrier
    url: str
    desk: str
    rng: random.Random
    wanted: Callable[[], int]
    reasons: tuple[str, ...]
    """Why people close cases."""
    posted: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    unanswered: list[str] = field(default_factory=list)
    """Uploads that never got an answer."""
    acted: dict[UUID, set[str]] = field(default_factory=dict)
    """What people tried at the board, by incident: a kill may have cut off the answer to what was done."""
    draining: threading.Event = field(default_factory=threading.Event)
    _stop: threading.Event = field(default_factory=threading.Event)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        self._bands = ThreadPoolExecutor(POSTERS, thread_name_prefix="bands")
        self._staff = ThreadPoolExecutor(STAFF, thread_name_prefix="staff")
        self._driver = threading.Thread(target=self._drive, name="driver", daemon=True)
        self._session = threading.local()
        self._driver.start()

    def close(self) -> None:
        self._stop.set()
        self._driver.join(timeout=30)
        for pool in (self._bands, self._staff):
            pool.shutdown(wait=True, cancel_futures=True)

    def drain(self) -> None:
        """No more signs; everybody picks up and helps from now on."""
        self.draining.set()
        for ward in self.town.wards:
            # A clock that came back an hour looks like an hour's absence of ours: silence then waits for ten minutes.
            if ward.patient_id not in self.board.busy():
                ward.silent_since = None
            self.carrier.set_phone(ward.phone, {"calls": [], **willing(PATIENT_WAYS), "callbacks": "normal"})
            for contact in ward.contacts:
                self.carrier.set_phone(contact, {"calls": [], **willing(CONTACT_WAYS), "callbacks": "normal"})
        self.carrier.set_phone(self.desk, {"calls": [], **willing(DESK_WAYS), "callbacks": "normal"})

    def _drive(self) -> None:
        while not self._stop.wait(REST_S):
            busy = self.board.busy()
            if not self.draining.is_set():
                self._befall(busy)
            self._hum(busy)
            for case in list(self.board.cases.values()):
                self._attend(case)

    # What happens to people

    def _befall(self, busy: set[UUID]) -> None:
        free = [w for w in self.town.wards if w.patient_id not in busy and not w.busy.locked() and not w.silent_since]
        self.rng.shuffle(free)
        # What waits for an answer has happened already, though no case shows it yet.
        room = min(self.wanted() - self.posted, 2 * POSTERS - self.posting)
        for ward in free[: max(0, room)]:
            self.posted += 1
            if ward.sign is Sign.SILENCE:
                ward.silent_since = time.monotonic()
            else:
                ward.busy.acquire()
                self._bands.submit(self._guarded, self._suffer, ward, dice(self.rng.random()))

    @property
    def posting(self) -> int:
        return sum(ward.busy.locked() for ward in self.town.wards)

    def _hum(self, busy: set[UUID]) -> None:
        """Bands whose silence would be a sign report now and then, until they fall silent."""
        now = time.monotonic()
        for ward in self.town.wards:
            if ward.sign is not Sign.SILENCE or ward.busy.locked():
                continue
            if ward.silent_since and ward.patient_id in busy:
                # Found: it reports again in its time, sometimes before anybody was reached.
                if self.draining.is_set() or self.rng.random() < REST_S / 10:
                    ward.silent_since = None
            elif not ward.silent_since and now - ward.last_heard > BEAT_S:
                ward.busy.acquire()
                self._bands.submit(self._guarded, self._beat, ward)

    def _guarded(self, work: Callable[..., None], ward: Ward, *given: Any) -> None:
        try:
            work(ward, *given)
        finally:
            ward.busy.release()

    def _beat(self, ward: Ward) -> None:
        self._post(ward, *ward.body())
        ward.last_heard = time.monotonic()

    def _suffer(self, ward: Ward, rng: random.Random) -> None:
        self.carrier.set_phone(ward.phone, plans(PATIENT_WAYS, rng))
        for contact in ward.contacts:
            self.carrier.set_phone(contact, plans(CONTACT_WAYS, rng))
        # One telephone for everybody: what its next calls meet is drawn anew with each sign.
        self.carrier.set_phone(self.desk, plans(DESK_WAYS, rng))
        sign = ward.sign
        if sign is Sign.VITALS:
            if time.monotonic() - ward.measured > BATCH_S and self._post(ward, *ward.batch()) and ward.ill:
                ward.signs[sign] += 1
                return
            sign = Sign.FALL
        if self._post(ward, *ward.body(sign.value)):
            ward.signs[sign] += 1

    def _post(self, ward: Ward, upload_id: UUID, body: bytes) -> bool:
        """Post, and again, as a band does, until it is answered; whether it was taken."""
        deadline = time.monotonic() + ANSWER_MOST_S
        while time.monotonic() < deadline and not self._stop.is_set():
            try:
                answer = ward.band.send(body)
            except requests.RequestException as error:
                self._count(self.statuses, type(error).__name__)
                time.sleep(REFUSED_S)
                continue
            self._count(self.statuses, str(answer.status_code))
            if answer.status_code == 200:
                ward.answered.append(upload_id)
                return True
            if answer.status_code < 500:
                break
            time.sleep(REFUSED_S)
        self.unanswered.append(f"{ward.sign} of ward {ward.number}")
        return False

    # What people at the board do

    def _attend(self, case: CaseNow) -> None:
        now = time.monotonic()
        if case.in_hand:
            return
        if not case.plan:
            case.plan = self._intend(now)
        if case.acknowledged and not case.over and "close" not in case.plan:
            abandoned = not self.draining.is_set() and self.rng.random() < 0.04
            case.plan["close"] = now + (60.0 if abandoned else self.rng.uniform(0.2, 3.0))
        if self.draining.is_set() and not case.acknowledged and not case.over:
            case.plan.setdefault("acknowledge", now + self.rng.uniform(5.0, 15.0))
        for action, at in list(case.plan.items()):
            if at <= now and action != "seen":
                del case.plan[action]
                settled = case.over or case.acknowledged != (action == "close")
                if action not in {"acknowledge", "close"} or not settled:
                    case.in_hand = True
                    self._staff.submit(self._act, case, action, self.rng.random())
                    return

    def _intend(self, now: float) -> dict[str, float]:
        plan = {"seen": now}
        # Most of what waits long is taken at the board; the others hang on the telephones alone.
        if self.rng.random() < LOOKED_AFTER:
            plan["acknowledge"] = now + self.rng.uniform(*PATIENCE_S)
        draw = self.rng.random()
        if draw < 0.08:
            plan["acknowledge"] = now + self.rng.uniform(0.0, 20.0)
        elif draw < 0.14:
            plan["claim"] = now + self.rng.uniform(0.0, 10.0)
        elif draw < 0.155:
            plan["stand_down"] = now + self.rng.uniform(0.0, 10.0)
        if self.rng.random() < 0.1:
            plan["note"] = now + self.rng.uniform(0.0, 10.0)
        return plan

    def _act(self, case: CaseNow, action: str, draw: float) -> None:
        try:
            self._do(case, action, draw)
        finally:
            case.in_hand = False

    def _do(self, case: CaseNow, action: str, draw: float) -> None:
        reason = self.reasons[int(draw * len(self.reasons))]
        if action == "close":
            if draw < 0.1:
                self._say(case, "dispatch", {"reference": "119-7"})
                self._say(case, "progress", {"state": "at_patient"})
            self._say(case, "close", {"reason": reason})
        elif action == "stand_down":
            self._say(case, "stand_down", {"reason": reason})
        else:
            self._say(case, action, {"text": "seen"} if action == "note" else {})

    def _say(self, case: CaseNow, action: str, fields: dict[str, str]) -> None:
        """One action at the board; a refusal is an answer too, a silence is tried again a little."""
        if not hasattr(self._session, "it"):
            self._session.it = requests.Session()
            self._session.it.trust_env = False
        url = f"{self.url}/v1/incidents/{case.id}/{action}"
        headers = {"Authorization": f"Bearer {self.town.service_key}"}
        with self._turn:
            self.acted.setdefault(case.id, set()).add(action)
        for _ in range(40):
            if self._stop.is_set():
                return
            try:
                answer = self._session.it.post(url, json=fields, headers=headers, timeout=30)
            except requests.RequestException as error:
                self._count(self.actions, type(error).__name__)
                time.sleep(REFUSED_S)
                continue
            self._count(self.actions, f"{action}_{answer.status_code}")
            if answer.status_code < 500:
                return
            time.sleep(REFUSED_S)

    def _count(self, counter: Counter[str], name: str) -> None:
        with self._turn:
            counter[name] += 1
