"""Many devices of one area silent at once: one technical incident and a list of whom to call first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from scipy.stats import binom

LAYER = "storm"
CODE = "area_silent"
USUAL_SHARE = 0.02
"""Share of devices that are silent at any time, where an area has no history of its own (policy)."""
FEWEST = 3
"""Fewer silent devices are no storm, however unlikely (policy)."""
LEAST_SHARE = 0.2
"""Of the devices of the area; fewer are many single faults (policy)."""
SIGNIFICANCE = 1e-4
"""One false storm in ten thousand looks over all areas together (policy); the areas share it equally (Bonferroni)."""
END_SHARE = 0.3
"""A storm is over when its silent count fell to this part of what arms it, or to one (policy: hysteresis; whoever is
silent alone is told by name)."""


class Frailty(StrEnum):
    """What puts a person higher on the list."""

    AGE = "age"
    DEMENTIA = "dementia"
    ALONE = "alone"
    VITALS = "vitals"


@dataclass(frozen=True, slots=True)
class Member:
    """One device of the area and its wearer.

    Attributes
    ----------
    patient_id : str
    area : str
    silent : bool
        Beyond its limit.
    frailty : float
        The caller's score (`frailty`), higher is frailer; NaN counts as frailest.
    sos : bool
        A real SOS of this person is open.
    """

    patient_id: str
    area: str
    silent: bool
    frailty: float = 0.0
    sos: bool = False


@dataclass(frozen=True, slots=True)
class AreaSilence:
    """An area that fell silent.

    Attributes
    ----------
    area : str
        District, or "" for the whole site.
    silent, devices : int
    expected : float
        Silent devices expected at the usual share.
    p_value : float
        Chance of so many at the usual share (upper binomial tail), before it is shared among the areas.
    since : datetime
    call_list : tuple[str, ...]
        Patients without a sign: those with an open SOS first, then the frailest.
    """

    area: str
    silent: int
    devices: int
    expected: float
    p_value: float
    since: datetime
    call_list: tuple[str, ...]


def frailty(age: float | None, dementia: bool, alone: bool, news2: float | None) -> float:
    """Order of calling (policy): a point a decade beyond 60, two for dementia, two alone, a half a NEWS2 point.

    Age or vitals that are unknown count as eighty years and three points: unknown is not well.
    """
    years = 80.0 if age is None or age != age else age
    points = 3.0 if news2 is None or news2 != news2 else news2
    return max(0.0, (years - 60) / 10) + 2 * dementia + 2 * alone + points / 2


def tail(silent: int, devices: int, share: float) -> float:
    """Chance of at least so many silent devices: the upper tail of Binomial(devices, share)."""
    if not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1, was {share:g}: give the usual share of silent devices")
    if silent <= 0:
        return 1.0
    return float(binom.sf(silent - 1, devices, share))


def call_list(members: Sequence[Member]) -> tuple[str, ...]:
    """Whom to call: everybody with an open SOS, heard of or not, then the silent ones, frailest first; each once."""
    wanted = [m for m in members if m.silent or m.sos]
    # NaN compares with nothing: an unknown frailty stands before every known one.
    ranked = sorted(wanted, key=lambda m: (not m.sos, m.frailty == m.frailty, -m.frailty, m.patient_id))
    return tuple(dict.fromkeys(m.patient_id for m in ranked))


def _holds(silent: int, devices: int, share: float, areas: int, open_now: bool) -> bool:
    if open_now:
        threshold = max(FEWEST, LEAST_SHARE * devices, share * devices)
        return silent > max(1.0, END_SHARE * threshold)
    if silent < FEWEST or silent < LEAST_SHARE * devices:
        return False
    return tail(silent, devices, share) <= SIGNIFICANCE / areas


def area_silence(
    members: Sequence[Member],
    now: datetime,
    shares: dict[str, float] | None = None,
    open_since: dict[str, datetime] | None = None,
) -> list[AreaSilence]:
    """Areas that are silent as a whole, the site first; an area within a silent site is not told again.

    A scan over the given districts: each one's count of silent devices is tested against its usual share by the upper
    binomial tail, the significance divided by the number of areas looked at (purely spatial scan with fixed windows;
    Kulldorff, Commun. Stat. Theory Methods 1997;26:1481, has the general case).

    Parameters
    ----------
    members : sequence of Member
        Every device that is expected to report, silent or not.
    now : datetime
    shares : dict of str to float
        Usual share of silent devices by area; `USUAL_SHARE` where absent.
    open_since : dict of str to datetime
        Storms that are open ("" is the whole site): they last until few are silent, so that devices coming back one
        by one do not close and open it again.

    Returns
    -------
    list[AreaSilence]
        Storms that began or last; one that is open and not in the list is over.
    """
    known, running = shares or {}, open_since or {}
    groups: dict[str, list[Member]] = {}
    for member in members:
        groups.setdefault(member.area, []).append(member)
    districts = sorted(area for area in groups if area)
    found = []
    for area in ["", *districts]:
        inside = list(members) if not area else groups[area]
        silent, share = sum(m.silent for m in inside), known.get(area, USUAL_SHARE)
        if not _holds(silent, len(inside), share, 1 + len(districts), area in running):
            continue
        if not area and _one_district(inside, districts, groups):
            continue
        found.append(
            AreaSilence(
                area, silent, len(inside), share * len(inside), tail(silent, len(inside), share),
                running.get(area, now), call_list(inside),
            )
        )  # fmt: skip
        if not area:
            return found
    return found


def _one_district(inside: Sequence[Member], districts: Sequence[str], groups: dict[str, list[Member]]) -> bool:
    """Whether the silence of the site is that of a part of its districts: fewer than half of them are touched."""
    touched = sum(any(m.silent for m in groups[area]) for area in districts)
    return len(districts) > 1 and 2 * touched <= len(districts)
