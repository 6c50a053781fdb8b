"""Replaying recorded people over HTTP, like any device.

The times posted are the recorded ones, moved as a whole: whatever the speed, the last instant of each recording is
the moment at which its replay ends, so that early uploads of a fast replay are as old as they were recorded. They are
stamped with the true time of sending and are therefore neither corrected nor refused (up to 30 days). Detection works
on these times; only what was measured long before it is received opens no medium or low condition
(`ANSIM_LATE_SIGN_AFTER_S`). A service of our own waits ten days there, so that results do not depend on the speed; on
another service that holds for recordings up to its own limit.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import requests

from devices.simulator import RecordedUpload, stamped
from service.config import Settings
from service.tools import recordings, stage
from service.tools.doctor import NotReady
from service.tools.machine import Machine, Watch
from service.tools.recordings import NotARecording, Recording
from service.tools.wearable import Wearable

OK, NOT_MET, USAGE = 0, 1, 2
THREADS = 8
TRIES = 6
FOUND_OUT_WITHIN_S = 2.0
DISTRICT = "00000"
REPLAYED = {"ANSIM_LATE_SIGN_AFTER_S": "864000", "ANSIM_SILENT_AFTER_S": "604800"}
OLDEST = timedelta(days=30)
PAGING = {"high", "medium"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="CSV (.xz, .gz) of vital signs, or .npz of RR intervals")
    parser.add_argument("--url", help="a running service; without it one is started and stopped here")
    parser.add_argument("--service-key", help=f"its service key, with the scopes {', '.join(stage.SCOPES)}")
    parser.add_argument(
        "--speed",
        type=_speed,
        default=60.0,
        metavar="S",
        help="recorded seconds in a real second; 0 or max: as fast as possible (default 60)",
    )
    parser.add_argument("--json", action="store_true", help="the results alone on standard output, as JSON")


def _speed(text: str) -> float:
    if text == "max":
        return 0.0
    speed = float(text)
    if not 0 <= speed < 1e9:
        raise argparse.ArgumentTypeError(f"must be 0 or more recorded seconds a second, or max, was {text}")
    return speed


def run(given: argparse.Namespace, _settings: Settings) -> int:
    """Replay every subject of a file; 0 when every instant got a verdict."""
    if bool(given.url) != bool(given.service_key):
        _say("give --url and --service-key together, or neither to start a service here")
        return USAGE
    try:
        found = recordings.read(given.file)
    except NotARecording as error:
        _say(str(error))
        return USAGE
    with _service(given.url, given.service_key) as machine:
        _warn_of_age(found, own=given.url is None)
        replayed = Replay(machine, given.speed).play(found)
    if given.json:
        print(json.dumps({"patients": [one.as_json() for one in replayed]}))
        sys.stderr.write("\n".join(summary(replayed)) + "\n")
    else:
        _print_table(replayed)
    lost = sum(abs(one.recording.instants - one.answered) for one in replayed)
    if lost:
        _say(f"{lost} instants did not get exactly one verdict")
    return NOT_MET if lost else OK


@contextmanager
def _service(url: str | None, key: str | None) -> Iterator[Machine]:
    if url is not None and key is not None:
        yield Machine(url, key)
        return
    _say("starting a service of its own")
    with stage.own_service(extra=REPLAYED) as own:
        yield Machine(own.url, own.service_key)


def _warn_of_age(found: Sequence[Recording], *, own: bool) -> None:
    longest_s = max(one.duration_s for one in found)
    if timedelta(seconds=longest_s) > OLDEST:
        _say("instants older than 30 days will be rejected: this recording is longer")
    elif longest_s > 3600 and not own:
        _say(
            "this recording is longer than an hour: medium and low signs older than that service's "
            "ANSIM_LATE_SIGN_AFTER_S (3600 unless set) open nothing there, unless replayed at --speed 1"
        )


@dataclass(frozen=True)
class Posted:
    """One upload that was answered."""

    received_at: str
    """As the service said it: what it opened carries the same time."""
    recorded_s: float
    sent: float
    """Monotonic seconds when it was posted."""


@dataclass
class Player:
    """One subject on their way through the service."""

    recording: Recording
    patient_id: str
    band: Wearable
    began: float
    uploads: Iterator[RecordedUpload]
    posted: list[Posted] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)
    conditions: list[dict[str, Any]] = field(default_factory=list)
    incidents: list[dict[str, Any]] = field(default_factory=list)

    @property
    def answered(self) -> int:
        return self.verdicts.total()

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.recording.id,
            "uploads": len(self.posted),
            **{verdict: self.verdicts[verdict] for verdict in ("stored", "duplicate", "rejected")},
            "alarm_conditions": self.conditions,
            "incidents": self.incidents,
        }

    def led_to(self, at: str) -> Posted | None:
        """The upload whose posting led to what the service dates so: the last one received until then."""
        before = [one for one in self.posted if one.received_at[:23] <= _to_ms(at)]
        return before[-1] if before else None


class Replay:
    """Posts all subjects side by side, each one's uploads in order and on time."""

    def __init__(self, machine: Machine, speed: float) -> None:
        self._machine, self._speed = machine, speed
        self._lock = threading.Lock()
        self._sent, self._all, self._told = 0.0, 0.0, time.monotonic()

    def play(self, found: Sequence[Recording]) -> list[Player]:
        self._all = sum(one.duration_s for one in found)
        watch = Watch(self._machine)
        try:
            with ThreadPoolExecutor(THREADS) as pool:
                players = list(pool.map(self._enrol, found))
                self._post_all(pool, players)
                list(pool.map(lambda player: self._collect(player, watch), players))
        finally:
            watch.close()
        return players

    def _enrol(self, recording: Recording) -> Player:
        patient_id = self._machine.add_patient(f"재생 {recording.id}"[:100], DISTRICT)
        code = self._machine.issue_code(patient_id)
        band = Wearable.enrol(self._machine.url, code, "ansim-replay", self._machine.session())
        return Player(recording, patient_id, band, 0.0, iter(()))

    def _post_all(self, pool: ThreadPoolExecutor, players: list[Player]) -> None:
        """Keep a queue by due time; a player has one upload in it or on its way, so that its order holds."""
        order = itertools.count()
        due: list[tuple[float, int, Player, RecordedUpload]] = []

        def plan(player: Player) -> None:
            upload = next(player.uploads, None)
            if upload is not None:
                wait_s = upload.recorded_s / self._speed if self._speed else 0.0
                heapq.heappush(due, (player.began + wait_s, next(order), player, upload))

        for player in players:
            duration_s = player.recording.duration_s
            real_s = duration_s / self._speed if self._speed >= 1 else 0.0
            player.began = time.monotonic()
            player.uploads = player.recording.uploads(datetime.now(UTC) + timedelta(seconds=real_s))
            plan(player)
        flying: dict[Future[None], Player] = {}
        while due or flying:
            while due and len(flying) < THREADS and due[0][0] <= time.monotonic():
                _, _, player, upload = heapq.heappop(due)
                flying[pool.submit(self._post, player, upload)] = player
            full = len(flying) >= THREADS
            pause_s = None if full or not due else max(0.0, due[0][0] - time.monotonic())
            if not flying:
                time.sleep(pause_s or 0.0)
                continue
            for done in wait(flying, pause_s, FIRST_COMPLETED).done:
                done.result()
                plan(flying.pop(done))

    def _post(self, player: Player, upload: RecordedUpload) -> None:
        body = msgspec.json.encode(stamped(upload.body, datetime.now(UTC)))
        sent = time.monotonic()
        answer = self._answer(player.band, body)
        player.posted.append(Posted(answer["received_at"], upload.recorded_s, sent))
        for said in answer["verdicts"]:
            first, last = said.get("from"), said.get("to")
            player.verdicts[said["verdict"]] += 1 if first is None else last - first + 1
        before_s = player.posted[-2].recorded_s if len(player.posted) > 1 else 0.0
        with self._lock:
            self._sent += upload.recorded_s - before_s
            if time.monotonic() - self._told > 5:
                self._told = time.monotonic()
                _say(f"{100 * self._sent / max(self._all, 1):.0f} % replayed")

    def _answer(self, band: Wearable, body: bytes) -> dict[str, Any]:
        """The answer to an upload, the same bytes sent again while the service is busy or away."""
        why = ""
        for attempt in range(TRIES):
            try:
                response = band.send(body)
            except requests.RequestException as error:
                why = type(error).__name__
            else:
                if response.status_code == 200:
                    answer: dict[str, Any] = response.json()
                    return answer
                why = f"{response.status_code} {response.text[:300]}"
                if response.status_code not in {429, 500, 502, 503, 504}:
                    break
            time.sleep(min(0.2 * 2**attempt, 5.0))
        raise NotReady(f"an upload got no verdicts: {why}")

    def _collect(self, player: Player, watch: Watch) -> None:
        """What the service made of it, once the last upload is answered."""
        by_incident: dict[str, list[dict[str, Any]]] = {}
        for said in self._machine.conditions(player.patient_id):
            led = player.led_to(said["detected_at"])
            told = {name: said[name] for name in ("code", "kind", "priority")}
            told["opened_recorded_s"] = led.recorded_s if led else 0.0
            player.conditions.append(told)
            if said["incident_id"]:
                by_incident.setdefault(said["incident_id"], []).append(told)
        for incident_id, reasons in by_incident.items():
            case = self._machine.incident(incident_id)
            led = player.led_to(case["opened_at"])
            seen = watch.seen_at(incident_id, FOUND_OUT_WITHIN_S) or time.monotonic()
            reached = [one["opened_recorded_s"] for one in reasons if one["priority"] == case["priority"]]
            player.incidents.append(
                {
                    "priority": case["priority"],
                    "opened_recorded_s": led.recorded_s if led else 0.0,
                    "latency_s": round(max(0.0, seen - led.sent), 3) if led else 0.0,
                    "reason": (case["reasons"] or reasons)[0]["code"],
                    "technical": case["technical"],
                    "priority_recorded_s": min(reached, default=led.recorded_s if led else 0.0),
                }
            )


def _to_ms(at: str) -> str:
    """An RFC 3339 time of the service to the millisecond, as text that sorts."""
    return datetime.fromisoformat(at).astimezone(UTC).isoformat(timespec="milliseconds")[:23]


def _print_table(players: Sequence[Player]) -> None:
    form = "{:<14} {:>8} {:>8} {:>9} {:>9} {:>9}  {}"
    print(form.format("subject", "hours", "uploads", "stored", "duplicate", "rejected", "incident"))
    for one in players:
        case = one.incidents[0] if one.incidents else None
        text = (
            f"{case['priority']} {case['reason']} at {case['opened_recorded_s']:.0f} s, "
            f"visible after {case['latency_s']:.2f} s"
            if case
            else ", ".join(sorted({str(c["code"]) for c in one.conditions})) or "-"
        )
        counts = (one.verdicts[name] for name in ("stored", "duplicate", "rejected"))
        print(form.format(one.recording.id, f"{one.recording.duration_s / 3600:.2f}", len(one.posted), *counts, text))
    for line in summary(players):
        print(line)


def summary(players: Sequence[Player]) -> list[str]:
    """What it came to, in sentences."""
    hours = sum(one.recording.duration_s for one in players) / 3600
    cases = [case for one in players for case in one.incidents]
    openings = [c for one in players for c in one.conditions if c["priority"] in PAGING]
    lines = [
        "",
        f"{len(players)} subjects, {hours:.1f} patient-hours, {sum(one.answered for one in players)} verdicts",
        f"{len(cases)} incidents: {_rate(len(cases), hours)}; nobody closes them here, so that what follows joins them",
        f"{len(openings)} openings of medium or high conditions: {_rate(len(openings), hours)}",
    ]
    for code, n in Counter(str(c["code"]) for c in openings).most_common():
        who = sum(any(c["code"] == code and c["priority"] in PAGING for c in one.conditions) for one in players)
        lines.append(f"  {code:<22} {n:>5} in {who} subjects, {_rate(n, hours)}")
    latencies = sorted(case["latency_s"] for case in cases)
    if latencies:
        lines.append(f"visible after {latencies[len(latencies) // 2]:.2f} s (median), {latencies[-1]:.2f} s (longest)")
    return lines


def _rate(n: int, hours: float) -> str:
    return f"{n / hours:.3f} a patient-hour, {24 * n / hours:.2f} a patient-day" if hours else "-"


def _say(text: str) -> None:
    sys.stderr.write(f"ansim replay: {text}\n")
