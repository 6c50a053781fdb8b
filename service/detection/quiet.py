"""Looking at somebody of whom nothing was heard: is it longer than they are ever quiet, and could we have heard?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from devices.signals.finding import Finding
from dispatch.alarm import AlarmCondition
from service.detection import absence, layers, state, telling
from service.detection.state import NEVER

SENSORS_FORGOTTEN_S = 7 * 86_400
"""A home whose sensors said nothing for a week is one without (policy)."""
AGAIN_S = 600
"""While it cannot be told, for want of a sensor that listens, it is looked at again so often (policy)."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look found: the new state, what it raises, and when to look again (microseconds UTC, None: not)."""

    state: bytes
    opened: list[AlarmCondition]
    look_us: int | None


def _observed_s(memory: layers.Memory, received_s: int, now_s: int) -> int:
    """Until when a sensor listened: those of the home whenever anything arrives, a worn one while it is worn."""
    at_home = int(memory.own["home_t"][0])
    if at_home != NEVER and now_s - at_home <= SENSORS_FORGOTTEN_S:
        return received_s
    return int(memory.own["seen_t"][0])


def look(
    carried: bytes, now_us: int, wearer: layers.Wearer, away_until_us: int | None, received_us: int | None
) -> Looked:
    """Judge one person's silence.

    Parameters
    ----------
    carried : bytes
        State after the latest upload.
    now_us : int
        Microseconds UTC.
    wearer : Wearer
    away_until_us : int or None
        Announced return; until then, and a while after, silence tells nothing.
    received_us : int or None
        When anything was last received from a device of theirs.
    """
    now_s = now_us // 1_000_000
    memory = layers.decode([carried])
    if int(memory.absence["last_t"][0]) == NEVER:
        return Looked(carried, [], None)
    offset = np.array([wearer.utc_offset_s])
    away = np.array([NEVER if away_until_us is None else away_until_us // 1_000_000])
    since = np.array([now_s])
    observed = _observed_s(memory, NEVER if received_us is None else received_us // 1_000_000, now_s)
    found = absence.judge(memory.absence, now_s, offset, away, np.array([observed]), since)[0]
    opened: list[AlarmCondition] = []
    look_us: int | None = None
    if found is not None:
        opened = _weighed(memory, found, now_us)
    elif int(memory.absence["told_t"][0]) == NEVER:
        due = int(absence.next_check_s(memory.absence, offset, away, since)[0])
        look_us = max(due, now_s + AGAIN_S if due <= now_s else due) * 1_000_000
    memory.own["look_t"] = NEVER if look_us is None else look_us // 1_000_000
    return Looked(carried[: len(state.BLANK)] + layers.encode(memory)[0], opened, look_us)


def _weighed(memory: layers.Memory, found: Finding, now_us: int) -> list[AlarmCondition]:
    heard = layers.Heard(findings=[found])
    layers.weigh(memory, [heard], np.array([now_us]))
    return [one for _, one in telling.conditions(heard, now_us)[0]]
