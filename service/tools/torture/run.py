"""``ansim torture``: a whole service under load and every fault, then a checker who only sees it from outside."""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dispatch.codes import HUMAN_CLOSE_REASONS
from service.app import build_house
from service.config import Settings
from service.store import schema
from service.store.database import Database
from service.tools import stage
from service.tools.torture import engines, figures, policy
from service.tools.torture.board import Board
from service.tools.torture.carrier import LOOK_S, Carrier
from service.tools.torture.checker import check
from service.tools.torture.clock import ClockHand
from service.tools.torture.crowd import Crowd
from service.tools.torture.engines import Engine
from service.tools.torture.faults import Torturer
from service.tools.torture.processes import Nursery, Parts
from service.tools.torture.town import Town, dice, settle
from service.tools.torture.yardstick import Yardstick

OK, NOT_MET, USAGE = 0, 1, 2
PATIENTS = (60, 300)
OPEN_SHARE = 0.8
"""Of the people: more at once than a district of thousands has in its worst hour."""
LATE_MOST = 5
"""With so many cases late, nothing more befalls anybody until the machine has caught up."""
CALM_INCIDENTS = (10, 200)
CALM_PER_S = 2.0
CALM_AFTER_S = 5.0
"""By then the last of them has long been told."""
DRAIN_MOST_S = 240.0
TELL_S = 10.0
LEAD = 0.03
"""How far kills may run ahead of incidents, or these of kills, as a share of all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kills", type=_whole, default=30, metavar="N", help="SIGKILLs of web, jobs or both")
    parser.add_argument("--incidents", type=_whole, default=300, metavar="N", help="incidents to open at least")
    parser.add_argument("--seed", type=_whole, help="repeats the choices of an earlier run (not its timing)")
    parser.add_argument(
        "--time-scale",
        type=_scale,
        default=8.0,
        metavar="X",
        help="divides the carrier's delays, and the policy's as far as a document may shorten them (default 8)",
    )
    parser.add_argument("--database", choices=(engines.SQLITE, engines.POSTGRES), default=engines.SQLITE)
    parser.add_argument("--minutes-most", type=float, default=60.0, metavar="M", help="give up after so long")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave database and log of the run in this folder")
    parser.add_argument("--json", action="store_true", help="the findings alone on standard output, as JSON")


def _whole(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must be 0 or more, was {text}")
    return number


def _scale(text: str) -> float:
    number = float(text)
    if not 1 <= number <= policy.MOST_SCALE:
        raise argparse.ArgumentTypeError(f"must be 1 to {policy.MOST_SCALE:g}, was {text}")
    return number


def run(given: argparse.Namespace, _settings: Settings) -> int:
    """Torture a service of its own; 0 when every promise was kept."""
    # What the service says while people are put into it is not what this command is about.
    logging.getLogger("ansim").setLevel(logging.WARNING)
    seed = given.seed if given.seed is not None else secrets.randbelow(2**31)
    with ExitStack() as stack:
        folder = _folder(stack, given.keep)
        torture = stack.enter_context(_service(given, seed, folder))
        result = torture.go()
        if result["examples"]:
            log = (folder / "service.log").read_text(errors="replace").splitlines()
            sys.stderr.write("\n".join(["ansim: the last lines of the service's log:", *log[-20:]]) + "\n")
    if given.json:
        print(json.dumps(result))
    else:
        print("\n".join(f"{key:<26} {value}" for key, value in result.items()))
    return OK if result["met"] else NOT_MET


def _folder(stack: ExitStack, keep: Path | None) -> Path:
    if keep is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ansim-torture-")))
    keep.mkdir(parents=True, exist_ok=False)
    return keep.resolve()


@contextmanager
def _service(given: argparse.Namespace, seed: int, folder: Path) -> Iterator[Torture]:
    """Everything made and nothing running yet but the carrier and the nursery."""
    rng = dice(seed)
    data = folder / "data"
    data.mkdir()
    with ExitStack() as stack:
        engine = engines.made(given.database, data)
        stack.callback(engine.close)
        hand = ClockHand(folder / "clock")
        environ = {k: v for k, v in os.environ.items() if not k.startswith("ANSIM_")}
        environ |= stage.demonstration(data, stage.free_port())
        environ |= {"ANSIM_DATABASE_URL": engine.url, "ANSIM_CLOCK_FILE": str(folder / "clock")}
        environ |= {"ANSIM_LOG_LEVEL": "warning", "ANSIM_THREADS": "32"}
        started = stack.enter_context(stage.stopped_politely())
        carrier = Carrier(stage.start_loopback(started, environ))
        environ["ANSIM_TWILIO_API_URL"] = carrier.url
        carrier.configure({"time_scale": given.time_scale, "seed": seed % 1_000_000})
        settings = Settings.from_env(environ)
        house = build_house(settings)
        stack.callback(house.database.dispose)
        schema.upgrade(house.database)
        engine.watch(house.database)
        patients = min(max(given.incidents // 2, min(given.incidents, PATIENTS[0])), PATIENTS[1])
        town = settle(house, settings.public_url, patients, rng)
        policy.publish(house, town.organisation_id, given.time_scale)
        nursery = Nursery(environ, folder / "service.log")
        stack.callback(nursery.close)
        parts = Parts(nursery, settings.public_url)
        stack.callback(parts.close)
        yield Torture(given, seed, rng, settings, engine, hand, carrier, house.database, town, parts)


@dataclass
class Torture:
    """One run, from the calm to the checker's word."""

    given: argparse.Namespace
    seed: int
    rng: random.Random
    settings: Settings
    engine: Engine
    hand: ClockHand
    carrier: Carrier
    database: Database
    town: Town
    parts: Parts
    began: float = field(default_factory=time.monotonic)
    _told: float = 0.0
    _looked: float = 0.0
    _calm_since: float | None = None
    _gave_up: bool = False

    def go(self) -> dict[str, Any]:
        self.board = Board(self.database, self.hand)
        self.crowd = Crowd(
            town=self.town,
            board=self.board,
            carrier=self.carrier,
            url=self.settings.public_url,
            desk=self.settings.fallback_number,
            rng=dice(self.rng.random()),
            wanted=self._signs_wanted,
            reasons=tuple(reason.value for reason in HUMAN_CLOSE_REASONS),
        )
        self.torturer = Torturer(
            self.parts, self.carrier, self.hand, self.engine, dice(self.rng.random()), self._kills_wanted
        )
        self.parts.start()
        self.board.start()
        self.calm_incidents: int = min(max(self.given.incidents // 10, CALM_INCIDENTS[0]), CALM_INCIDENTS[1])
        self._calm_since = time.monotonic()
        self.crowd.start()
        try:
            calm = self._calm()
            self._torment()
            self._drain()
        finally:
            self.crowd.close()
            self.board.close()
        self._settle_carrier()
        self.parts.close()
        found = check(self.database, self.town, self.crowd, self.carrier, self.settings.send_lease_s)
        return figures.result(self, found, calm)

    # How much may have happened by now

    def _signs_wanted(self) -> int:
        if self._calm_since is not None:
            passed = time.monotonic() - self._calm_since
            return min(self.calm_incidents, int(passed * CALM_PER_S))
        kills, incidents = int(self.given.kills), int(self.given.incidents)
        ahead = kills and self.board.opened / max(1, incidents) > self.torturer.kills / kills + LEAD
        if ahead or self.board.opened >= incidents or self.board.late >= LATE_MOST:
            return 0
        room = int(OPEN_SHARE * len(self.town.wards)) - self.board.under_way
        return self.crowd.posted + max(0, min(room, incidents - self.board.opened, 3))

    def _kills_wanted(self) -> int:
        share = min(1.0, self.board.opened / max(1, self.given.incidents) + LEAD)
        return int(share * self.given.kills + 0.5)

    # The phases

    def _calm(self) -> dict[str, float | None]:
        """No fault at all: how soon the first telephone rings."""
        with Yardstick(self.settings.data_dir) as machine:
            while self.crowd.posted < self.calm_incidents:
                self._pass(0.2, "calm")
            until = time.monotonic() + CALM_AFTER_S
            while time.monotonic() < until:
                self._pass(0.2, "calm")
        self.carrier.collect()
        self._calm_since = None
        return figures.first_notified(self.database, self.carrier) | machine.figures()

    def _torment(self) -> None:
        self.torturer.start()
        try:
            while not self._gave_up:
                self._pass(0.2, "torture")
                done = self.board.opened >= self.given.incidents and self.torturer.kills >= self.given.kills
                self._gave_up = time.monotonic() - self.began > self.given.minutes_most * 60
                if done:
                    break
        finally:
            self.torturer.close()

    def _drain(self) -> None:
        """No fault any more, and everybody helps: nothing may be left over."""
        self.crowd.drain()
        deadline = time.monotonic() + DRAIN_MOST_S
        while time.monotonic() < deadline:
            self._pass(0.3, "drain")
            left = [case for case in self.board.cases.values() if not case.over]
            if not left and not any(ward.silent_since or ward.busy.locked() for ward in self.town.wards):
                break

    def _settle_carrier(self) -> None:
        deadline = time.monotonic() + 30
        while not self.carrier.idle() and time.monotonic() < deadline:
            time.sleep(0.3)
        self.carrier.collect(everything=True)

    def _pass(self, seconds: float, phase: str) -> None:
        time.sleep(seconds)
        now = time.monotonic()
        if now - self._looked > LOOK_S:
            self._looked = now
            self.carrier.collect()
        if now - self._told > TELL_S:
            self._told = now
            sys.stderr.write(f"ansim: {phase}: {figures.progress(self, now - self.began)}\n")
