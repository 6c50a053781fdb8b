"""A person's word on an incident, brought into the weighing of that person's next signs."""

from __future__ import annotations

from collections.abc import Collection

from service.detection import fusion, layers, state
from service.detection.budget import Cause
from service.detection.state import NEVER


def take(carried: bytes, codes: Collection[str], *, false_because: Cause | None, was_true: bool, now_us: int) -> bytes:
    """The state after a verdict.

    Parameters
    ----------
    carried : bytes
        The person's state.
    codes : collection of str
        Signs that the incident rested on.
    false_because : Cause or None
        Why it was a false alarm, if it was.
    was_true : bool
        Something had happened.
    now_us : int
        Microseconds UTC.
    """
    memory = layers.decode([carried])
    if false_because is not None:
        fusion.false_alarm(memory.fusion, codes, false_because, now_us)
    elif was_true:
        fusion.true_alarm(memory.fusion, codes, now_us)
    else:
        fusion.clear(memory.fusion, now_us)
    return carried[: len(state.BLANK)] + layers.encode(memory)[0]


def look_us(carried: bytes) -> int | None:
    """When this state asks to be looked at again, microseconds UTC."""
    look_t = int(layers.decode([carried]).own["look_t"][0])
    return None if look_t == NEVER else look_t * 1_000_000
