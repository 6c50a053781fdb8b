"""The faults: kills at random moments, and the weather of carrier, clock, locks and disk."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from service.tools.torture.carrier import Carrier
from service.tools.torture.clock import HOUR_S, ClockHand
from service.tools.torture.engines import Engine
from service.tools.torture.processes import JOBS, PARTS, WEB, Parts
from service.tools.torture.town import dice

KILLED = ([WEB], [JOBS], list(PARTS))
MODES = ("500", "timeout", "timeout_acted", "429", "out_of_credit")
HANG_S = 6.0
REST_S = (0.5, 5.0)
LASTS_S = (0.5, 3.0)


@dataclass
class Torturer:
    """Two hands: one kills, the other makes everything else go wrong."""

    parts: Parts
    carrier: Carrier
    hand: ClockHand
    engine: Engine
    rng: random.Random
    kills_wanted: Callable[[], int]
    """How many kills may have happened by now."""
    kills: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        seeds = [dice(self.rng.random()) for _ in range(2)]
        self._hands = [
            threading.Thread(target=self._work, args=(self._kill_on, seeds[0]), name="killer", daemon=True),
            threading.Thread(target=self._work, args=(self._spoil, seeds[1]), name="spoiler", daemon=True),
        ]
        for one in self._hands:
            one.start()

    def close(self) -> None:
        """Stop, and put everything right again."""
        self._stop.set()
        for one in self._hands:
            one.join(timeout=90)
        self.calm()

    def calm(self) -> None:
        """No weather, the true time, room on the disk."""
        self.carrier.configure({"fail_share": 0.0})
        self.engine.free_disk(self.parts)
        if self.hand.offset_s:
            self.hand.set(0.0)

    def _work(self, work: Callable[[random.Random], None], rng: random.Random) -> None:
        while not self._stop.is_set():
            try:
                work(rng)
            except Exception as error:  # noqa: BLE001 - a torturer that stops would look like a service that holds
                self.errors.append(f"{type(error).__name__}: {error}")
                self._stop.wait(1.0)

    def _kill_on(self, rng: random.Random) -> None:
        if self.kills >= self.kills_wanted():
            self._stop.wait(0.1)
            return
        # From the midst of a start-up to well under load.
        self._stop.wait(rng.uniform(0.0, 1.5))
        names = rng.choice(KILLED)
        self.parts.kill(names)
        self.kills += 1
        self.counts["kill_" + "_and_".join("web" if name == WEB else name for name in names)] += 1

    def _spoil(self, rng: random.Random) -> None:
        self._stop.wait(rng.uniform(*REST_S))
        fault = rng.choice((self._carrier, self._carrier, self._clock, self._lock, self._disk))
        if not self._stop.is_set():
            fault(rng)

    def _carrier(self, rng: random.Random) -> None:
        modes = rng.sample(MODES, rng.randint(1, 3))
        wish = {"fail_share": rng.uniform(0.1, 0.6), "fail_modes": modes, "hang_s": HANG_S, "retry_after_s": 1.0}
        self.carrier.configure(wish)
        for mode in modes:
            self.counts[f"carrier_{mode}"] += 1
        self._last(rng)
        self.carrier.configure({"fail_share": 0.0})

    def _clock(self, rng: random.Random) -> None:
        """An hour forward or back; from there, always back to the true time."""
        target = 0.0 if self.hand.offset_s else rng.choice((HOUR_S, -HOUR_S))
        self.counts["clock_forward" if target > self.hand.offset_s else "clock_back"] += 1
        self.hand.set(target)

    def _lock(self, rng: random.Random) -> None:
        self.counts["database_locked"] += 1
        self.engine.lock(rng.uniform(*LASTS_S))

    def _disk(self, rng: random.Random) -> None:
        self.counts["disk_full"] += 1
        self.engine.fill_disk(self.parts)
        try:
            self._last(rng)
        finally:
            self.engine.free_disk(self.parts)

    def _last(self, rng: random.Random) -> None:
        time.sleep(rng.uniform(*LASTS_S))
