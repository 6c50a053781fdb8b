"""Parts of a demonstration that are started again when they end, as a site's supervisor does with the real ones."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from service.tools.stage import Part

ENDS_MOST = 5
"""Policy: a part that ends oftener than this within ``WITHIN_S`` cannot be helped by starting it again."""
WITHIN_S = 60.0


@dataclass
class Kept:
    """One part, by the name under which people know it."""

    name: str
    begin: Callable[[], Part]
    part: Part
    ends: list[float] = field(default_factory=list)
    children: list[int] = field(default_factory=list)


@dataclass
class Supervisor:
    """``parts`` is what is stopped in the end: whatever is started again takes its predecessor's place there."""

    parts: list[Part]
    kept: list[Kept] = field(default_factory=list)

    def keep(self, name: str, begin: Callable[[], Part], part: Part | None = None) -> None:
        """Look after a part from now on; it is begun unless it runs already."""
        if part is None:
            part = begin()
            self.parts.append(part)
        self.kept.append(Kept(name, begin, part))

    def look(self, now_s: float) -> bool:
        """Start again what has ended, and say so; False when a part keeps ending."""
        for one in self.kept:
            code = one.part.poll()
            if code is None:
                one.children = _children(one.part.pid)
                continue
            _end(one.children)
            how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
            one.ends = [at for at in one.ends if now_s - at < WITHIN_S] + [now_s]
            if len(one.ends) > ENDS_MOST:
                sys.stderr.write(f"ansim: {one.name} {how}, again and again; stopping (see the lines above)\n")
                return False
            place = self.parts.index(one.part)
            one.part = self.parts[place] = one.begin()
            sys.stderr.write(f"ansim: {one.name} {how}; it was started again\n")
        return True


def _children(pid: int) -> list[int]:
    """Processes that a part has begun itself; none where the system does not tell."""
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _end(pids: list[int]) -> None:
    """What a killed part leaves behind would go on beside its successor, and outlive the demonstration."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
