"""What must not be lost in the weighing: events put into the lives of composite people, where they left off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from devices.reading import COLUMNS, INDEX
from devices.signals.impacts import RATE_HZ, to_g
from service.detection import Wearer
from service.tools.evaluation import fitabase, sisfall
from service.tools.evaluation.common import Floats
from service.tools.evaluation.composite_follow import DAY_S, REFRACTORY_S, Followed, Life, Rows, follow
from service.tools.evaluation.composite_homes import Parts, years

STILL_S = 60
STILL_NOISE_G = 0.004
FALLS = 120
"""Of each place of wear, at most."""
TACHYCARDIAS = 60
DRIFTS, DRIFT_BPM, DRIFT_DAY, DRIFT_LASTS = 50, 8.0, 30, 7
SILENT_S = 36 * 3600


@dataclass(frozen=True, slots=True)
class Kept:
    """Of one kind of event: put in, found by its layer, signs found, and those of them that were told as well."""

    kind: str
    events: int
    events_found: int
    signs: int
    told: int
    people: int


def kept(kind: str, done: Followed, codes: Sequence[str]) -> Kept:
    """Match what the layers found with what was told: the same sign, then or within the hour before."""
    found = [(i, f.code.removeprefix("limit:"), f.at_us / 1e6) for i, f in done.found]
    found = [one for one in found if one[1] in codes and one[2] >= done.lives[one[0]].counted_s]
    told = 0
    for i, code, at_s in found:
        near = (t for t in done.told if t.who == i and t.code == code and t.rank >= 0)
        told += any(at_s - REFRACTORY_S <= t.at_s <= at_s + 1 for t in near)
    people = {i for i, _, _ in found}
    return Kept(kind, len(done.lives), len(people), len(found), told, len({done.lives[i].name for i in people}))


def _after(host: Life) -> int:
    return (host.end_s // DAY_S + 1) * DAY_S


def _play(hosts: Followed, count: int, make: Callable[[int, int, Life], Life], step_s: int = 600) -> Followed:
    """Let event k of `count` happen to host k (over again), from the state in which that host was left."""
    places = [k % len(hosts.lives) for k in range(count)]
    lives = [make(k, _after(hosts.lives[h]), hosts.lives[h]) for k, h in enumerate(places)]
    return follow(lives, step_s, [hosts.states[h] for h in places])


def fibrillation(hosts: Followed, parts: Parts) -> Kept | None:
    hearts = parts.fibrillating
    if not hearts:
        return None

    def life(k: int, at: int, host: Life) -> Life:
        rr = hearts[k % len(hearts)].rr_ms
        end = at + int(rr.sum() / 1000) + 60
        return Life(host.name, at, end, at, beats_s=float(at), rr_ms=rr, wearer=host.wearer)

    done = _play(hosts, max(len(hosts.lives), len(hearts)), life)
    return kept("atrial fibrillation (afdb_rr)", done, ("atrial_fibrillation",))


def tachycardia(hosts: Followed, parts: Parts, seed: int) -> Kept | None:
    rng = np.random.default_rng(seed)
    pieces = []
    for person in parts.minutes:
        onsets = fitabase.onsets(person)
        each = max(TACHYCARDIAS // len(parts.minutes), 1)
        pieces += [fitabase.injected(person, int(o), rng) for o in onsets[:: max(onsets.size // each, 1)][:each]]
    if not pieces:
        return None

    def life(k: int, at: int, host: Life) -> Life:
        at_s, heart, steps = pieces[k]
        moved = at_s - at_s[0] // DAY_S * DAY_S + at
        values = np.full((at_s.size, len(COLUMNS)), np.nan)
        values[:, INDEX["heart_rate_bpm"]], values[:, INDEX["steps"]] = heart, steps
        start = int(moved[0]) // 600 * 600
        onset = int(moved[-1]) - fitabase.INJECTED_S
        return Life(host.name, start, int(moved[-1]) + 60, onset, Rows(moved, values), wearer=host.wearer)

    done = _play(hosts, len(pieces), life)
    return kept("20 min of resting tachycardia", done, ("heart_rate_high",))


def _still(signal: Floats, rng: np.random.Generator) -> Floats:
    """The fall, then lying as it ended."""
    resting = np.nanmean(signal[-RATE_HZ // 2 :], axis=0)
    resting = resting / max(float(np.linalg.norm(resting)), 1e-6)
    lying = resting + rng.normal(0, STILL_NOISE_G, (STILL_S * RATE_HZ, 3))
    return np.concatenate([signal, lying])


def _waist(data: Path) -> list[Floats]:
    signals: list[Floats] = []
    for path in sorted(data.glob("sisfall*.npz")):
        with np.load(path) as held:
            names = sorted(k for k in held.files if k.startswith("F") and not k.endswith("_lab"))
            for key in names[:: max(len(names) // FALLS, 1)][:FALLS]:
                signals.append(to_g(held[key] / sisfall.COUNTS, sisfall.RECORDED_HZ, "g"))
    return [one for one in signals if len(one)]


def falls(hosts: Followed, parts: Parts, data: Path, seed: int) -> list[Kept]:
    rng = np.random.default_rng(seed)
    wrist = [one.signal for one in parts.falls]
    wrist = wrist[:: max(len(wrist) // FALLS, 1)][:FALLS]
    found = []
    for place, name, signals in (("wrist", "weda_fall", wrist), ("waist", "sisfall", _waist(data))):
        if not signals:
            continue
        still = [_still(one, rng) * 1000 for one in signals]

        def life(k: int, at: int, host: Life, place: str = place, still: list[Floats] = still) -> Life:
            wearer = Wearer(host.wearer.age_years, host.wearer.sex, host.wearer.utc_offset_s, place)
            waves = [(float(at), float(RATE_HZ), "mg", still[k])]
            return Life(host.name, at, at + 600, at, waves=waves, wearer=wearer)

        done = _play(hosts, len(still), life)
        found.append(kept(f"fall at the {place} ({name}), asked", done, ("fall_suspected",)))
        found.append(kept(f"fall at the {place} ({name}), then still", done, ("fall_still",)))
    return found


def silence(hosts: Followed) -> Kept:
    def life(_: int, at: int, host: Life) -> Life:
        return Life(host.name, at, at + SILENT_S, at, wearer=host.wearer)

    done = _play(hosts, len(hosts.lives), life)
    return kept("silence at home", done, ("person_silent",))


def drift() -> Kept:
    """A rise of the heart rate in simulated people, a month after they were first seen."""
    lives = years(range(5000, 5000 + DRIFTS), DRIFT_DAY + DRIFT_LASTS, DRIFT_BPM, DRIFT_DAY)
    for life in lives:
        life.counted_s = life.start_s + DRIFT_DAY * DAY_S
    return kept("+8 bpm in a simulated month", follow(lives, DAY_S), ("heart_rate_drift_up",))
