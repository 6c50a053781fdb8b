"""Beats of an ECG against other detectors, on the recordings of cinc2015: agreement, trusted runs, cost."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from devices.signals.beats import Kind, find_beats
from devices.signals.quality import agreement, intervals, trusted
from service.tools.evaluation.cinc2015 import FOLDER, channels_of
from service.tools.evaluation.common import Curve, Floats, Outcome, Row, Say

NAMES = ("beats",)
MODELS: tuple[str, ...] = ()
MOST = 60
"""Recordings with which the slow peers are compared."""
PEERS = {"wfdb xqrs": "wfdb", "wfdb gqrs": "wfdb", "neurokit2": "neurokit2"}
Detector = Callable[[Floats, float], Floats]


def missing(data: Path) -> str | None:
    """The file this needs and does not find."""
    path = data / FOLDER / "ALARMS.csv"
    return None if path.is_file() else str(path)


def fit(data: Path, say: Say) -> dict[str, dict[str, Any]]:
    """Nothing is fitted here."""
    return {}


def _peer(name: str) -> Detector | None:
    """A peer's detector of one ECG lead -> beat times in s, or None where it is not installed."""
    package = PEERS[name]
    if importlib.util.find_spec(package) is None:
        return None
    if package == "neurokit2":
        kit = importlib.import_module("neurokit2")
        return lambda x, hz: np.asarray(kit.ecg_findpeaks(kit.ecg_clean(x, hz), hz)["ECG_R_Peaks"]) / hz
    processing = importlib.import_module("wfdb.processing")
    if name == "wfdb gqrs":
        return lambda x, hz: np.asarray(processing.gqrs_detect(sig=x, fs=hz)) / hz
    return lambda x, hz: np.asarray(processing.xqrs_detect(x, hz, verbose=False)) / hz


def ours(signal: Floats, sampling_rate_hz: float) -> Floats:
    """Our beat times in s."""
    return find_beats(signal, sampling_rate_hz, Kind.ECG).at_s


def evaluate(data: Path, mode: str, peers: bool, say: Say) -> Outcome:
    """Agreement with other detectors on the first lead, agreement of leads and pulse, share trusted, cost a sample."""
    paths = sorted((data / FOLDER).glob("*.npz"))
    records = [(path.stem, *channels_of(path)) for path in paths[:: max(1, len(paths) // MOST)]]
    leads = [(_whole(c[0][0]), hz) for _, c, hz in records if c and c[0][1] is Kind.ECG]
    out = Outcome()
    out.rows.append(_cost("ansim", ours, leads, mode))
    out.rows += _witness_rows(records, mode)
    for name in PEERS if peers else ():
        say(f"beats: {name}")
        out.rows += _peer_rows(name, leads, mode)
    values = sorted(_leads(c, hz, False) for _, c, hz in records)
    out.curves.append(
        Curve("beats", "agreement of two leads (F1), all beats", "share of recordings", "F1",
              [float(v) for v in np.linspace(0, 1, len(values))], values)
    )  # fmt: skip
    return out


def _whole(signal: Floats) -> Floats:
    """Without gaps: peers know no missing samples."""
    real = np.isfinite(signal)
    at = np.arange(signal.size)
    return np.interp(at, at[real], signal[real]) if real.any() else np.zeros(signal.size)


def _cost(name: str, detector: Detector, leads: list[tuple[Floats, float]], mode: str) -> Row:
    """Microseconds a sample by the processor's clock, over up to 20 recordings."""
    some = leads[:20]
    start = time.process_time()
    for x, hz in some:
        _tried(detector, x, hz)
    spent = time.process_time() - start
    samples = sum(x.size for x, _ in some)
    value = 1e6 * spent / samples if samples else None
    return Row("beats", "cost_us_per_sample", name, value, None, None, None, len(some), None, mode)


def _tried(detector: Detector, x: Floats, hz: float) -> Floats:
    try:
        return np.asarray(detector(x, hz), dtype=np.float64).ravel()
    except (ValueError, IndexError, ZeroDivisionError, TypeError):
        return np.empty(0)  # peers fail on flat or very noisy leads


def _peer_rows(name: str, leads: list[tuple[Floats, float]], mode: str) -> list[Row]:
    detector = _peer(name)
    if detector is None:
        return [Row("beats", "agreement_f1", name, None, None, None, None, None, None, mode, None, "not installed")]
    every, sure = [], []
    for x, hz in leads:
        theirs = _tried(detector, x, hz)
        f1 = agreement(ours(x, hz), theirs)
        every.append(0.0 if np.isnan(f1) else f1)
        beats, good = trusted(x, hz, Kind.ECG)
        if good.mean() > 0.9 if good.size else False:
            sure.append(agreement(beats.at_s, theirs))
    note = "median over recordings of the F1 of our beats and theirs; neither is the truth"
    return [
        _median("agreement_f1.all", name, every, mode, note),
        _median("agreement_f1.trusted", name, sure, mode, note + "; recordings of which we trust 0.9 or more"),
        _cost(name, detector, leads, mode),
    ]


def _median(measure: str, name: str, values: list[float], mode: str, note: str) -> Row:
    if not values:
        return Row("beats", measure, name, None, None, None, None, 0, None, mode, None, note)
    low, mid, high = (float(v) for v in np.percentile(values, (25, 50, 75)))
    return Row("beats", measure, name, mid, low, high, None, len(values), None, mode, None, note + "; quartiles")


def _leads(channels: list[tuple[Floats, Kind]], hz: float, sure: bool) -> float:
    """F1 of the beats of the first two leads, `sure` or all."""
    found = [trusted(x, hz, kind) for x, kind in channels if kind is Kind.ECG][:2]
    if len(found) < 2:
        return 0.0
    a, b = (beats.at_s[good] if sure else beats.at_s for beats, good in found)
    f1 = agreement(a, b)
    return 0.0 if np.isnan(f1) else f1


def _witness_rows(records: list[tuple[str, list[tuple[Floats, Kind]], float]], mode: str) -> list[Row]:
    """How often a trusted interval of one channel is found in another: the measure of trust without a reference."""
    right = total = kept = seconds = 0.0
    for _, channels, hz in records:
        for signal, kind in channels[:1]:
            seconds += signal.size / hz
            kept += sum(float(rr.sum()) / 1000 for _, rr in intervals(signal, hz, kind))
        leads = [trusted(x, hz, kind) for x, kind in channels if kind is Kind.ECG][:2]
        if len(leads) == 2 and all(good.sum() > 10 for _, good in leads):
            a, b = leads
            overlap = a[0].at_s[a[1]]
            overlap = overlap[[bool(b[1][np.abs(b[0].at_s - t).argmin()]) for t in overlap]]
            total += overlap.size
            right += sum(float(np.abs(b[0].at_s - t).min()) <= 0.15 for t in overlap)
    n = len(records)
    return [
        Row("beats", "seconds_trusted_share", "ansim", kept / seconds if seconds else None, None, None, None, n,
            None, mode, None, "first lead; recordings chosen because something alarmed"),
        Row("beats", "trusted_beat_seen_by_other_lead", "ansim", right / total if total else None, None, None,
            int(total), n, None, mode, None, "beats trusted in both leads' stretches, within 150 ms"),
    ]  # fmt: skip
