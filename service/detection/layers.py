"""The layers above the limits: each takes what an upload brings, and all that they find is weighed together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from devices.reading import INDEX, Batch, EventKind, Waveform
from devices.signals import arrest, falls, quality, rhythm
from devices.signals.finding import Finding
from service.detection import absence, baseline, fusion, home_vitals, state, warning
from service.detection.limits import PersonSettings
from service.detection.segments import Bools, Floats, Ints, chosen, running_max, starts
from service.detection.signs import Decision
from service.detection.state import EVIDENCE, NEVER, Records

VERSION = 2
OWN = np.dtype([("version", "<u2"), ("stepped_t", "<i8"), ("home_t", "<i8"), ("seen_t", "<i8"), ("look_t", "<i8")])
"""Of one person: the latest step; when a home sensor was last heard, and a worn one that counts steps; and when to
look whether they are quiet for too long. Seconds UTC, `NEVER` where not yet."""
LOOK_AFTER_S = absence.SOONEST * absence.SLOT_S
"""No silence is told sooner; whoever is quiet for so long is looked at."""
_COLUMN = [INDEX[name] for name in ("heart_rate_bpm", *EVIDENCE[1:])]
_PULSE, _STEPS = INDEX["pulse_rate_bpm"], INDEX["steps"]
_HAND = [INDEX["systolic_mmhg"], INDEX["diastolic_mmhg"], _PULSE]
_TO_BASELINE = [0, 2, 1, 3, 4]
"""EVIDENCE in the order of `baseline.VITALS`."""
_PLACES = {
    "door": absence.Place.DOOR, "front door": absence.Place.DOOR, "front_door": absence.Place.DOOR,
    "entrance": absence.Place.DOOR, "bed": absence.Place.BEDROOM, "bedroom": absence.Place.BEDROOM,
    "bathroom": absence.Place.BATHROOM, "toilet": absence.Place.BATHROOM, "kitchen": absence.Place.KITCHEN,
    "lounge": absence.Place.LOUNGE, "living_room": absence.Place.LOUNGE, "living room": absence.Place.LOUNGE,
}  # fmt: skip
Run = tuple[int, int, Floats]
"""Person, start in microseconds UTC, beat intervals in ms."""
_BEATING = ("ecg", "ppg")
_LEAST_HZ, _MOST_HZ = 25.0, 1000.0
_WITNESS_US, _ALIVE_BPM, _DOUBTED_NATS = 15_000_000, 20.0, 3.0
"""A rate measured until so long after the wave speaks against an arrest; what is doubted is a question (policy)."""
_TOGETHER_US = 100_000
"""Waves that begin within a tenth of a second were taken together (policy)."""
_SENSED = (EventKind.MOTION, EventKind.DOOR)
_TOUCHED = (EventKind.OK_PRESSED, EventKind.PUT_ON, EventKind.TAKEN_OFF, EventKind.CHARGING)


@dataclass(frozen=True, slots=True)
class Wearer:
    """What the layers need to know of a person. Years; 0 female, 1 male; NaN where not known."""

    age_years: float = float("nan")
    sex: float = float("nan")
    utc_offset_s: int = 0
    worn_at: str = ""
    """Of the device that sent the upload."""


@dataclass(slots=True)
class Heard:
    """What the layers found in one person's upload."""

    findings: list[Finding] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)


@dataclass(slots=True)
class _Stack:
    """Accepted values of all rows of a group, by person, in order of arrival."""

    who: Ints
    at_s: Ints
    carried_s: Ints
    """int64[people]: newest time of anything that had come before the upload."""
    evidence: Floats
    """float64[n, EVIDENCE]"""
    hand: Floats
    steps: Floats

    def known(self) -> tuple[Ints, Ints]:
        """Of each row its place in the person's own batch, and the newest time that had come with it, seconds UTC."""
        first = np.searchsorted(self.who, self.who)
        front = np.maximum(running_max(np.maximum(self.at_s, 1), self.who), self.carried_s[self.who])
        return np.arange(self.who.size) - first, front


@dataclass(slots=True)
class Memory:
    """What the layers carry for a group of people, one record a person in each; and the open ends of falls."""

    own: Records
    rhythm: Records
    baseline: Records
    warning: Records
    absence: Records
    home_vitals: Records
    fusion: Records
    whole: Records
    """All of them together: the others are its columns."""
    ends: list[bytes]
    begun: list[int]
    """Checksum of the first layer's record of each."""


_NAMES = ("own", "rhythm", "baseline", "warning", "absence", "home_vitals", "fusion")


def _own() -> Records:
    own = np.zeros(1, dtype=OWN)
    own["version"] = VERSION
    for name in ("stepped_t", "home_t", "seen_t", "look_t"):
        own[name] = NEVER
    return own


_BLANKS: tuple[Records, ...] = (
    _own(), rhythm.blank(), baseline.blank(), warning.blank(), absence.blank(), home_vitals.blank(), fusion.blank(),
)  # fmt: skip
_WHOLE = np.dtype([(name, blank.dtype) for name, blank in zip(_NAMES, _BLANKS, strict=True)])
_BLANK = b"".join(blank.tobytes() for blank in _BLANKS)
STATE_BYTES = len(_BLANK)


_LAYOUT = state.checksum(repr((state.STATE.descr, _WHOLE.descr)).encode())
"""A state of another layout never matches, whatever its version says."""


def begun(first: Sequence[bytes]) -> list[int]:
    """Checksums of the first layer's records, for `Memory.begun`."""
    return [state.checksum(data, _LAYOUT) for data in first]


def decode(states: Sequence[bytes | None]) -> Memory:
    """What each state holds behind the first layer's record; blank where there is none yet.

    Raises
    ------
    StateError
        If a state is damaged, cut off, or of another version.
    """
    opened = [state.rest(data, _BLANK, VERSION, _LAYOUT) for data in states]
    records: Records = np.frombuffer(bytearray().join([part for part, _, _ in opened]), dtype=_WHOLE)
    ends, before = [end for _, end, _ in opened], [one for _, _, one in opened]
    return Memory(whole=records, ends=ends, begun=before, **{name: records[name] for name in _NAMES})


def encode(memory: Memory) -> list[bytes]:
    """The bytes of each person's layers, and the checksum of the whole state."""
    data = memory.whole.tobytes()
    parts = [data[i * STATE_BYTES : (i + 1) * STATE_BYTES] + end for i, end in enumerate(memory.ends)]
    return [state.checked(part, before) for part, before in zip(parts, memory.begun, strict=True)]


def place(finding: Finding) -> int:
    """Row of the upload that a finding came with; -1 for what came with beats, waves or events."""
    return int(finding.params.get("row") or 0) if "row" in finding.params else -1


def _stack(memory: Memory, batches: Sequence[Batch], doubts: Sequence[npt.NDArray[np.uint8]]) -> _Stack:
    who = np.repeat(np.arange(len(batches)), [b.seq.size for b in batches])
    at_s = np.concatenate([b.at_us for b in batches]) // 1_000_000
    values = np.concatenate([b.values for b in batches])
    doubt = np.concatenate(doubts)
    if np.count_nonzero(doubt):
        values[doubt > 0] = np.nan
    evidence = values.take(_COLUMN, axis=1)
    heart = evidence[:, 0]
    np.copyto(heart, values[:, _PULSE], where=np.isnan(heart))
    # A zero that no gate could contradict is judged by the limits; it is nobody's usual.
    np.copyto(evidence, np.nan, where=evidence <= 0)
    return _Stack(who, at_s, memory.fusion["front"], evidence, values.take(_HAND, axis=1), values[:, _STEPS])


def _rested(rows: _Stack, memory: Memory) -> Bools:
    """No step for `baseline.REST_S` before each row."""
    first = starts(rows.who)
    people = chosen(rows.who[first])
    stepped, latest = rows.steps > 0, memory.own["stepped_t"][rows.who]
    if np.count_nonzero(stepped):
        latest = np.maximum(running_max(np.where(stepped, rows.at_s, NEVER), rows.who), latest)
        memory.own["stepped_t"][people] = latest[np.append(first[1:], rows.who.size) - 1]
    body = np.where(np.isnan(rows.evidence[:, 0] + rows.steps), NEVER, rows.at_s)
    seen_t = memory.own["seen_t"]
    seen_t[people] = np.maximum(seen_t[people], np.maximum.reduceat(body, first))
    rest: Bools = rows.at_s - latest >= baseline.REST_S
    return rest


def _beats(
    records: Records,
    batches: Sequence[Batch],
    settings: Sequence[PersonSettings],
    heard: list[Heard],
    more: list[Run],
) -> None:
    runs = [(i, b.start_us, np.asarray(b.rr_ms, dtype=np.float64)) for i, u in enumerate(batches) for b in u.beats]
    runs += more
    if not runs:
        return
    sizes = [rr.size for _, _, rr in runs]
    found = rhythm.update(
        records,
        np.array([i for i, _, _ in runs]),
        np.array([start for _, start, _ in runs]),
        np.concatenate([rr for _, _, rr in runs]),
        np.concatenate([[0], np.cumsum(sizes)[:-1]]),
        limits=_rates(settings),
    )
    for i, signs in enumerate(found):
        heard[i].findings += signs


def _rates(settings: Sequence[PersonSettings]) -> tuple[Floats, Floats] | None:
    own = [(s.heart_rate_low_bpm, s.heart_rate_high_bpm) for s in settings]
    if not any(low or high for low, high in own):
        return None
    low = [rhythm.LOW_BPM if low is None else low for low, _ in own]
    high = [rhythm.HIGH_BPM if high is None else high for _, high in own]
    return np.array(low, dtype=np.float64), np.array(high, dtype=np.float64)


def _waves(memory: Memory, batches: Sequence[Batch], wearers: Sequence[Wearer], heard: list[Heard]) -> list[Run]:
    """Falls in acceleration, and runs of beats from ECG and pulse waves."""
    runs: list[Run] = []
    for i, batch in enumerate(batches):
        for wave in sorted(batch.waveforms, key=lambda one: one.start_us):
            kind, unit, rate = str(wave.kind), str(wave.unit), float(wave.sampling_rate_hz)
            if falls.readable(kind, unit, len(wave.channels), rate):
                end = memory.ends[i] or None
                found, end = falls.scan(wave.channels, rate, unit, wearers[i].worn_at, wave.start_us, end)
                heard[i].findings += found
                memory.ends[i] = end or b""
            elif kind in _BEATING and _LEAST_HZ <= rate <= _MOST_HZ:
                beats = quality.intervals(wave.channels, rate, kind)
                runs += [(i, wave.start_us + round(offset_s * 1e6), rr_ms) for offset_s, rr_ms in beats]
                if kind == "ecg" and not (batch.values[:, INDEX["worn"]] == 0).any():
                    heard[i].findings += _arrests(wave, batch, beating=bool(beats))
    return runs


def _arrests(ecg: Waveform, batch: Batch, *, beating: bool) -> list[Finding]:
    """A heart that stands still or fibrillates, with the pulse wave taken beside it as a witness.

    It is certain only where the same wave holds beats that are believed and no other sensor counts a pulse: a loose
    electrode writes noise too. Without that it is doubted down to a question, never further.
    """
    end_us = ecg.start_us + round(ecg.channels.shape[1] / ecg.sampling_rate_hz * 1e6)
    near = (batch.at_us >= ecg.start_us) & (batch.at_us <= end_us + _WITNESS_US)
    pulse = bool((batch.values[near][:, [INDEX["heart_rate_bpm"], _PULSE]] >= _ALIVE_BPM).any())
    found = _screened(ecg, batch.waveforms)
    if beating and not pulse:
        return found
    return [replace(one, llr=min(one.llr, _DOUBTED_NATS)) for one in found]


def _screened(ecg: Waveform, waves: Sequence[Waveform]) -> list[Finding]:
    beside = [
        one
        for one in waves
        if str(one.kind) == "ppg"
        and one.sampling_rate_hz == ecg.sampling_rate_hz
        and abs(one.start_us - ecg.start_us) <= _TOGETHER_US
    ]
    given = [(one.channels, str(one.kind)) for one in (ecg, *beside)]
    return arrest.screen(given, float(ecg.sampling_rate_hz), ecg.start_us)


def _signs_of_life(batches: Sequence[Batch], rows: _Stack | None) -> tuple[Ints, Ints, Ints]:
    """Who did something, when and where: home sensors, a pressed key, steps, a cuff."""
    who, at, place = [], [], []
    for i, batch in enumerate(batches):
        for event in batch.events:
            if event.kind in _SENSED or event.kind in _TOUCHED:
                who.append(i)
                at.append(event.at_us // 1_000_000)
                place.append(_place(event.kind, event.place))
    if rows is not None:
        active = ((rows.steps > 0) | ~np.isnan(rows.hand[:, 0])).nonzero()[0]
        who += rows.who[active].tolist()
        at += rows.at_s[active].tolist()
        place += [int(absence.Place.NONE)] * active.size
    found = np.array([who, at, place], dtype=np.int64)
    if not who:
        return found[0], found[1], found[2]
    order = np.lexsort((found[1], found[0]))
    return found[0][order], found[1][order], found[2][order]


def _place(kind: EventKind, name: str | None) -> int:
    if kind is EventKind.DOOR and name is None:
        return int(absence.Place.DOOR)
    if kind not in _SENSED:
        return int(absence.Place.NONE)
    return int(_PLACES.get((name or "").strip().lower(), absence.Place.OTHER))


def _activity(
    memory: Memory, batches: Sequence[Batch], rows: _Stack | None, offsets: Ints, heard: list[Heard], now_us: Ints
) -> None:
    who, at_s, place = _signs_of_life(batches, rows)
    if not who.size:
        return
    ended = absence.update(memory.absence, who, at_s, place, offsets)
    for i in set(who.tolist()):
        memory.own["look_t"][i] = int(memory.absence["last_t"][i]) + LOOK_AFTER_S
    at_home = [i for i, b in enumerate(batches) if any(e.kind in _SENSED for e in b.events)]
    memory.own["home_t"][at_home] = np.maximum(memory.own["home_t"][at_home], now_us[at_home] // 1_000_000)
    for i in ended.tolist():
        at_us = int(memory.absence["last_t"][i]) * 1_000_000
        heard[i].findings.append(Finding(absence.LAYER, absence.CODE, at_us, at_us, 0.0, ended=True))


def _scores(
    memory: Memory, rows: _Stack, rest: Bools, wearers: Sequence[Wearer], offsets: Ints, heard: list[Heard]
) -> None:
    values = np.concatenate([rows.evidence.take(_TO_BASELINE, axis=1), rows.steps[:, None]], axis=1)
    told = _known(rows, None, baseline.update(memory.baseline, rows.who, rows.at_s, values, rest, offsets))
    told += _forecast(memory.warning, rows, rest, wearers)
    told += _by_hand(memory.home_vitals, rows, wearers)
    for i, finding in told:
        heard[i].findings.append(finding)


def _forecast(held: Records, rows: _Stack, rest: Bools, wearers: Sequence[Wearer]) -> list[tuple[int, Finding]]:
    still = rows.evidence
    if np.count_nonzero(rest) < rest.size:
        still = still.copy()
        still[~rest, 0] = still[~rest, 2] = np.nan
    age = np.array([w.age_years for w in wearers], dtype=np.float64)
    sex = np.array([w.sex for w in wearers], dtype=np.float64)
    told = warning.update(held, rows.who, rows.at_s, still, age, sex)
    return _known(rows, warning.plausible(still), told) if told else told


def _known(rows: _Stack, said: Bools | None, told: list[tuple[int, Finding]]) -> list[tuple[int, Finding]]:
    """A finding about a time is known when the row arrives that brings it to its end, in whatever upload."""
    closing = []
    for i, finding in told:
        late = (rows.who == i) & (rows.at_s * 1_000_000 >= finding.at_us)
        closes = (late if said is None else late & said).nonzero()[0]
        closing.append(int(closes[0]) if closes.size else -1)
    return _placed(rows, closing, told)


def _placed(rows: _Stack, closing: Sequence[int], told: list[tuple[int, Finding]]) -> list[tuple[int, Finding]]:
    """Findings with the place of the row that each came with (-1: none here), and when that was known."""
    if not told:
        return told
    place, front_s = (known.tolist() for known in rows.known())
    return [
        (i, replace(one, at_us=front_s[k] * 1_000_000, params=one.params | {"row": place[k]}) if k >= 0 else one)
        for k, (i, one) in zip(closing, told, strict=True)
    ]


def _by_hand(held: Records, rows: _Stack, wearers: Sequence[Wearer]) -> list[tuple[int, Finding]]:
    """Pressure, and the pulse measured with it; a pulse alone is sensed, not measured by hand."""
    measured = (~np.isnan(rows.hand[:, 0])).nonzero()[0]
    if not measured.size:
        return []
    told: list[tuple[int, Finding]] = []
    for offset in sorted({w.utc_offset_s for w in wearers}):
        mine = measured[[wearers[i].utc_offset_s == offset for i in rows.who[measured].tolist()]]
        told += home_vitals.update(held, rows.who[mine], rows.at_s[mine], rows.hand[mine], offset)
    # Each tells of its own row, also where rows of a later time had arrived before it.
    taken = zip(rows.who[measured].tolist(), (rows.at_s[measured] * 1_000_000).tolist(), strict=True)
    row = dict(zip(reversed(list(taken)), reversed(measured.tolist()), strict=True))
    return _placed(rows, [row.get((i, one.at_us), -1) for i, one in told], told)


def listen(
    memory: Memory,
    batches: Sequence[Batch],
    doubts: Sequence[npt.NDArray[np.uint8]],
    settings: Sequence[PersonSettings],
    wearers: Sequence[Wearer],
    now_us: Ints,
) -> list[Heard]:
    """Let every layer hear one upload of each of a group of people.

    Parameters
    ----------
    memory : Memory
        Of n people; changed in place.
    batches, settings, wearers : sequences of length n
    doubts : sequence of uint8[rows, columns]
        Quality of each field: 0 accepted, 1 doubtful, 2 rejected. Only accepted values teach or tell anything.
    now_us : int64[n]
        Receipt, microseconds UTC.

    Returns
    -------
    list[Heard]
        Findings by person, in order of layer.
    """
    heard = [Heard() for _ in batches]
    offsets = np.array([w.utc_offset_s for w in wearers], dtype=np.int64)
    _beats(memory.rhythm, batches, settings, heard, _waves(memory, batches, wearers, heard))
    rows = _stack(memory, batches, doubts) if any(b.seq.size for b in batches) else None
    _activity(memory, batches, rows, offsets, heard, now_us)
    if rows is not None:
        _scores(memory, rows, _rested(rows, memory), wearers, offsets, heard)
    return heard


def weigh(memory: Memory, heard: Sequence[Heard], until_us: Ints) -> None:
    """Weigh each person's findings into decisions; `memory` changes in place.

    `until_us` is the time of each person's newest data, microseconds UTC; 0 where they brought none. Hard limits are
    told by the first layer itself and join here as evidence only.
    """
    told = fusion.fuse(memory.fusion, [one.findings for one in heard], [()] * len(heard), until_us)
    for i, decisions in told.items():
        heard[i].decisions += decisions
