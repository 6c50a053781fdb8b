"""The gateway agent: enrol, number, store, sign and send readings, urgent ones ahead of any backlog."""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices.backlog import Backlog, Flight, Waiting
from devices.batch import EventKind
from devices.signatures import private_key_from_jwk, private_key_to_jwk, public_key_to_jwk, sign
from devices.verdicts import Verdict

URGENT = (EventKind.SOS, EventKind.FALL)
CONTENT_TYPE = "application/json"
# Policy. A row of the contract has a few hundred bytes; a waveform belongs into its own upload.
MOST_ROW_BYTES = 64_000
MOST_ROWS = 1_000
TIMEOUT_S = (3.05, 10.0)
BACKOFF_S = (1.0, 300.0)
URGENT_BACKOFF_S = (0.5, 5.0)
# Beyond 5 s the service corrects times by receipt minus sent_at: an older body would shift its readings.
RESEND_WITHIN_S = 5.0
UPLOAD_INTERVAL_S = 60.0
_UPLOAD_LIMITS_S = (1.0, 3600.0)


class AgentError(Exception):
    """The agent cannot go on without a person: not enrolled, or refused by the service."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


class Answer(msgspec.Struct):
    """What the service says to an upload, as far as the agent acts on it."""

    verdicts: list[Verdict]
    ask: dict[str, Any] | None = None
    settings: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Flushed:
    """What became of one flush."""

    requests: int
    settled: int
    left: int
    wait_s: float | None
    """None where the queue was emptied; else how long to wait before the next attempt."""
    problem: str | None = None


@dataclass(slots=True)
class _Lane:
    """Pace of the urgent or the ordinary lane."""

    urgent: bool
    failures: int = 0
    not_before: datetime | None = None
    wait_s: float = 0.0
    most_rows: int = MOST_ROWS

    def due_in_s(self, now: datetime) -> float:
        """Seconds to wait; a clock that jumped back never makes it more than was asked for."""
        left = 0.0 if self.not_before is None else (self.not_before - now).total_seconds()
        return min(max(left, 0.0), self.wait_s)

    def succeed(self) -> None:
        self.failures, self.not_before, self.wait_s = 0, None, 0.0


class Agent:
    """One device's agent; its folder holds the queue, the counter and the key."""

    def __init__(
        self,
        folder: Path,
        url: str,
        *,
        now: Callable[[], datetime],
        sleep: Callable[[float], None],
        session: requests.Session | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._backlog = Backlog(folder / "agent.sqlite3")
        self._url = url.rstrip("/")
        self._now, self._sleep = now, sleep
        self._session = session or requests.Session()
        # Jitter keeps a district's gateways from returning in one wave; nothing secret hangs on it.
        self._rng = rng or random.Random()  # noqa: S311
        self._lanes = {True: _Lane(True), False: _Lane(False)}
        self._polled: datetime | None = None
        self.ask: dict[str, Any] | None = None
        """The open question to the wearer, until an answer comes without one."""
        self.settings: dict[str, Any] = {}

    def close(self) -> None:
        self._backlog.close()
        self._session.close()

    @property
    def device_id(self) -> str | None:
        return self._backlog.fact("device_id")

    @property
    def upload_interval_s(self) -> float:
        """How often to report even if there is nothing to say, as the service last asked for."""
        asked = self.settings.get("upload_interval_s")
        if isinstance(asked, bool) or not isinstance(asked, (int, float)):
            return UPLOAD_INTERVAL_S
        return min(max(float(asked), _UPLOAD_LIMITS_S[0]), _UPLOAD_LIMITS_S[1])

    def queued(self) -> int:
        """How many rows have no verdict yet."""
        return self._backlog.size()

    def enrol(self, code: str, model: str) -> str:
        """Make a key, exchange the one-time code for a device id, and remember both."""
        stored = self._backlog.fact("private_key")
        # The key is kept before it is shown: an answer lost on the way must not cost the device its identity.
        key = private_key_from_jwk(json.loads(stored)) if stored else Ed25519PrivateKey.generate()
        self._backlog.remember("private_key", json.dumps(private_key_to_jwk(key)))
        body: dict[str, Any] = {
            "code": code,
            "public_key": public_key_to_jwk(key.public_key()),
            "alg": "ed25519",
            "model": model,
        }
        answer = self._session.post(
            f"{self._url}/v1/devices/enrol", json=body, timeout=TIMEOUT_S, allow_redirects=False
        )
        if answer.status_code != 201:
            raise AgentError(_problem(answer), f"enrolment must be answered 201, was {answer.status_code}")
        granted = answer.json()
        self._backlog.remember("keyid", str(granted["keyid"]))
        self._backlog.remember("device_id", str(granted["device_id"]))
        return str(granted["device_id"])

    def record(self, row: Mapping[str, Any]) -> int:
        """Store a row of the contract durably and give its number; ``at`` defaults to now."""
        stored = {name: value for name, value in row.items() if value is not None and name != "seq"}
        stored.setdefault("at", _rfc3339(self._now()))
        size = len(json.dumps(stored, allow_nan=False).encode())
        if size > MOST_ROW_BYTES:
            raise ValueError(f"row must hold at most {MOST_ROW_BYTES} bytes of JSON, was {size}: split it")
        return self._backlog.put(stored, urgent=stored.get("event") in URGENT)

    def record_event(self, kind: EventKind, place: str | None = None) -> int:
        """Store an event durably; an SOS or a fall goes out with the next request, alone."""
        return self.record({"event": kind.value, "place": place})

    def reset_counter(self) -> None:
        """Count from the beginning again, under a new boot id."""
        self._backlog.new_boot()

    def flush(self, patience_s: float = 0.0) -> Flushed:
        """Send what waits, urgent first, sleeping through temporary failures up to ``patience_s`` in all."""
        requests = settled = 0
        problem: str | None = None
        while True:
            lane = self._next_lane()
            if lane is None:
                return Flushed(requests, settled, self.queued(), None, problem)
            wait_s = lane.due_in_s(self._now())
            if wait_s > patience_s:
                return Flushed(requests, settled, self.queued(), wait_s, problem)
            if wait_s:
                patience_s -= wait_s
                self._sleep(wait_s)
                # Something urgent may have come meanwhile, and an injected clock may stand still.
                lane.not_before = None
                continue
            deleted, problem = self._send(lane)
            requests += 1
            settled += deleted

    def step(self) -> float:
        """Flush, report that we are there if that is due, and give the seconds until the next step."""
        done = self.flush()
        now = self._now()
        since_s = None if self._polled is None else (now - self._polled).total_seconds()
        if done.wait_s is None and (since_s is None or not 0 <= since_s < self.upload_interval_s):
            self._heartbeat()
            since_s = 0.0
        waits = [
            self.upload_interval_s - (since_s or 0.0),
            *(lane.due_in_s(now) for lane in self._lanes.values()),
        ]
        return max(min(wait for wait in waits if wait > 0), 0.05)

    def run(self, stop: Callable[[], bool]) -> None:
        """Step until told to stop; what wakes the sleeper early (an SOS) is the injected sleep's business."""
        while not stop():
            self._sleep(self.step())

    def _next_lane(self) -> _Lane | None:
        for lane in (self._lanes[True], self._lanes[False]):
            if self._backlog.waiting(lane.urgent, 1):
                return lane
        return None

    def _send(self, lane: _Lane) -> tuple[int, str | None]:
        flight = self._young_flight(lane)
        items: list[Waiting] = []
        if flight is None:
            items = self._backlog.waiting(lane.urgent, lane.most_rows)
            flight = self._build(items, lane.urgent)
            self._backlog.launch(flight)
        answer = self._post(flight.body)
        if answer is None:
            return 0, self._fail(lane, "unreachable", None)
        if answer.status_code == 200:
            return self._accept(lane, flight, answer)
        return 0, self._refused(lane, flight, answer)

    def _young_flight(self, lane: _Lane) -> Flight | None:
        flight = self._backlog.flight(lane.urgent)
        if flight is None:
            return None
        age_s = (_micros(self._now()) - flight.built_us) / 1e6
        if 0 <= age_s <= RESEND_WITHIN_S:
            return flight
        self._backlog.abandon(flight)
        return None

    def _build(self, items: list[Waiting], urgent: bool) -> Flight:
        now = self._now()
        boot_id = items[0].boot_id if items else str(self._backlog.boot_id)
        upload_id = str(uuid4())
        rows = [{"seq": item.seq, **item.row} for item in items]
        body = {"upload_id": upload_id, "boot_id": boot_id, "sent_at": _rfc3339(now), "readings": rows}
        packed = json.dumps(body, separators=(",", ":")).encode()
        return Flight(upload_id, boot_id, urgent, _micros(now), packed)

    def _post(self, body: bytes) -> requests.Response | None:
        stored, keyid = self._backlog.fact("private_key"), self._backlog.fact("keyid")
        if stored is None or keyid is None:
            raise AgentError("not_enrolled", "enrol this agent with a one-time code first")
        url = f"{self._url}/v1/readings"
        parts = urlsplit(url)
        headers = sign(
            private_key_from_jwk(json.loads(stored)),
            method="POST",
            path=parts.path,
            authority=parts.netloc.rpartition("@")[2],
            content_type=CONTENT_TYPE,
            body=body,
            keyid=keyid,
            nonce=secrets.token_urlsafe(16),
            created=int(self._now().timestamp()),
        )
        try:
            return self._session.post(
                url, data=body, headers=headers, timeout=TIMEOUT_S, allow_redirects=False
            )
        except requests.RequestException:
            return None

    def _accept(self, lane: _Lane, flight: Flight, response: requests.Response) -> tuple[int, str | None]:
        answer = self._heed(response)
        if answer is None:
            return 0, self._fail(lane, "answer_unreadable", None)
        runs = [(v.from_, v.to) for v in answer.verdicts if v.from_ is not None and v.to is not None]
        conflicts = [
            seq
            for v in answer.verdicts
            if v.code == "seq_conflict" and v.from_ is not None and v.to is not None
            for seq in range(v.from_, v.to + 1)
        ]
        deleted = self._backlog.settle(flight, runs, conflicts)
        if deleted == 0:
            # Rows without a verdict stay queued, but not in a tight circle.
            return 0, self._fail(lane, "no_verdict", None)
        lane.succeed()
        lane.most_rows = MOST_ROWS
        return deleted, None

    def _heed(self, response: requests.Response) -> Answer | None:
        try:
            answer = msgspec.json.decode(response.content, type=Answer)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        self.ask = answer.ask
        self.settings = answer.settings if answer.settings is not None else self.settings
        self._polled = self._now()
        return answer

    def _refused(self, lane: _Lane, flight: Flight, response: requests.Response) -> str:
        status, code = response.status_code, _problem(response)
        if status in (400, 409, 413, 415, 422):
            # Nothing was consumed and the same body would fail again: look for the row at fault by halving.
            self._backlog.abandon(flight)
            items = self._backlog.waiting(lane.urgent, lane.most_rows)
            if status != 409 and len(items) > 1:
                lane.most_rows = len(items) // 2
            elif status != 409 and items:
                self._backlog.hold(items[0], code)
                lane.most_rows = MOST_ROWS
            return code if status != 409 else self._fail(lane, code, None)
        return self._fail(lane, code, _retry_after_s(response, self._now()))

    def _fail(self, lane: _Lane, problem: str, retry_after_s: float | None) -> str:
        """Put the lane's next attempt off; the urgent one never for long, whatever it was told."""
        first, most = URGENT_BACKOFF_S if lane.urgent else BACKOFF_S
        if retry_after_s is None:
            wait_s = min(first * 2**lane.failures, most) * self._rng.uniform(0.5, 1.0)
        else:
            wait_s = retry_after_s * self._rng.uniform(1.0, 1.25)
            wait_s = min(wait_s, most) if lane.urgent else wait_s
        lane.failures = min(lane.failures + 1, 30)
        lane.wait_s = wait_s
        lane.not_before = self._now() + timedelta(seconds=wait_s)
        return problem

    def _heartbeat(self) -> None:
        answer = self._post(self._build([], urgent=False).body)
        if answer is None or answer.status_code != 200 or self._heed(answer) is None:
            retry_after_s = None if answer is None else _retry_after_s(answer, self._now())
            self._fail(self._lanes[False], "heartbeat", retry_after_s)


def _problem(response: requests.Response) -> str:
    try:
        return str(response.json()["code"])
    except (ValueError, KeyError, TypeError):
        return f"http_{response.status_code}"


def _retry_after_s(response: requests.Response, now: datetime) -> float | None:
    """Read Retry-After: seconds, or a date (RFC 9110 section 10.2.3)."""
    said = response.headers.get("Retry-After", "").strip()
    if said.isascii() and said.isdigit():
        return float(said[:9])
    try:
        return max((parsedate_to_datetime(said) - now).total_seconds(), 0.0) if said else None
    except (ValueError, TypeError):
        return None


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _micros(moment: datetime) -> int:
    return int(moment.timestamp() * 1e6)
