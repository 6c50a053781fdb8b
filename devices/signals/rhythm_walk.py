"""From judged beats to findings: evidence summed, limits held for a while, pauses corroborated, with hysteresis."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from devices.signals.finding import Finding
from devices.signals.rhythm_features import Classifier

NEVER = -(2**62)
_S = 1_000_000

CARRIED = np.dtype(
    [
        ("judged_us", "<i8"),
        ("af_us", "<i8"),
        ("onset_us", "<i8"),
        ("sum", "<i4"),
        ("seen", "<u4"),
        ("fibrillating", "<u4"),
        ("rough", "<i4"),
        ("slow_us", "<i8"),
        ("fast_us", "<i8"),
        ("pause_us", "<i8"),
        ("pause_ms", "<u4"),
        ("before_ms", "<u2"),
        ("held_us", "<i8"),
        ("faint_us", "<i8"),
        ("af", "<i1"),
        ("slow", "<i1"),
        ("fast", "<i1"),
        ("paused", "<i1"),
    ]
)
"""What a lane carries from step to step."""
_NAMES: tuple[str, ...] = CARRIED.names or ()
AFRESH = tuple(NEVER if name.endswith("_us") else 0 for name in _NAMES)

FORGET_US = 60 * _S
"""Evidence for fibrillation is dropped when no window was judged for so long (policy)."""
SPAN_US = 30 * _S
"""A slow or fast run may span gaps no longer than this (policy)."""
SLOW_US, FAST_US = 30 * _S, 60 * _S
"""How long a rate must stay beyond its limit, or back, before the sign begins or ends (policy)."""
SLOW_BACK, FAST_BACK = 5.0, 10.0
"""beats/min within the limit before the sign may end (policy)."""
STEADY = 0.5
"""Eight beats are steady if they spread by at most this share of their median (policy)."""
CHANGED = 1.5
"""Rates before and after a pause differ at most by this factor (policy)."""
ASYSTOLE_MS, LOST_MS = 10_000.0, 60_000.0
"""From here a pause is told uncorroborated, but doubted; beyond, the signal was lost, which silence judges (policy)."""
HOLD_US, FAINT_HOLD_US = 21_600 * _S, 21_600 * _S
"""A pause sign ends this long after the last pause; doubted ones are told once in this time (policy: intervals alone
cannot tell a pause from beats cut out as noise, of which a recorded day has hundreds)."""
MISSED = 0.06
"""Within this of a whole multiple of the usual interval, beats may have been missed (policy)."""
PAUSE_LLR, MISSED_LLR, DOUBTED_LLR, RATE_LLR = 2.0, 1.2, 0.5, 2.0
"""Weights of the findings that are no model's, nats (policy; fusion caps each layer)."""
OVERLAP = 4.0
"""Windows share beats: each beat is in four, so that the sum overstates the evidence by as much."""
ROUGH, ROUGH_ARM = 0.05, 2.0
"""Where more than this share of otherwise steady eights holds beats missed or added, evidence for fibrillation must
reach so many times as far before it is told (policy: a noisy pulse sensor)."""
_FINE, _WHOLE = 256.0, 65_536


@dataclass(frozen=True, slots=True)
class Rhythm:
    """The classifier with the rule that sums it.

    Attributes
    ----------
    classifier : Classifier
    bias : float
        Taken from the log-odds of each window.
    up, down : float
        Most that one window may add or take, nats.
    arm, most, clear : float
        The sum at which the sign begins, its ceiling, and where the sign ends.
    """

    classifier: Classifier
    bias: float
    up: float
    down: float
    arm: float
    most: float
    clear: float

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Rhythm:
        """Read from a model's parameters."""
        rule = (float(parameters[k]) for k in ("bias", "up", "down", "arm", "most", "clear"))
        return cls(Classifier.of(dict(parameters)), *rule)


class Judged(NamedTuple):
    """One step: eight more beats of an unbroken run, or (beats 0) an interval too long to be one."""

    at_us: int
    beats: int
    rr_ms: float
    middle_ms: float
    spread_ms: float
    took_ms: float
    odds: float
    mean_ms: float
    settled: int
    """Unbroken beats before a long interval."""
    mended: int
    """1 if the eight beats are steady, 2 if they are but for beats missed or added, 0 if neither can be said."""


class Walk:
    """One lane's steps in order."""

    def __init__(self, carried: tuple[int, ...], model: Rhythm, limits: tuple[float, float], backlog: bool) -> None:
        self.s: dict[str, int] = dict(zip(_NAMES, carried, strict=True))
        self.model, self.backlog = model, backlog
        self.low, self.high = limits
        self.found: list[Finding] = []

    def carried(self) -> tuple[int, ...]:
        """What the next upload needs, in the order of `CARRIED`."""
        return tuple(self.s.values())

    def step(self, row: Judged) -> None:
        """Weigh one step."""
        if row.at_us < max(self.s["judged_us"], self.s["af_us"]):
            self._afresh()
        s = self.s
        self._let_go(row.at_us)
        if not row.beats:
            self._long(row)
            return
        if row.beats == 8 and s["pause_ms"]:
            self._after_pause(row)
        self._rates(row)
        if row.mended:
            # A mean over about the last 64 eights of which something can be said; fibrillation says nothing.
            s["rough"] += (_WHOLE * (row.mended - 1) - s["rough"]) >> 6
        if not math.isnan(row.odds):
            self._fibrillation(row)

    def _afresh(self) -> None:
        """A backlog older than the one before it is a stretch of its own."""
        self.s = dict(zip(_NAMES, AFRESH, strict=True))

    def _tell(self, code: str, onset_us: int, at_us: int, llr: float, ended: bool, **params: float) -> None:
        rounded: dict[str, float | int | str | bool | None] = {k: round(v, 3) for k, v in params.items()}
        if self.backlog:
            rounded["backlog"] = True
        self.found.append(Finding("rhythm", code, onset_us, at_us, llr, ended, rounded))

    def _fibrillation(self, row: Judged) -> None:
        s, m = self.s, self.model
        reach = ROUGH_ARM if s["rough"] > ROUGH * _WHOLE else 1.0
        if row.at_us - s["af_us"] > FORGET_US:
            # A sign that holds must be cleared by evidence, not by silence.
            s["sum"] = min(s["sum"], round(m.arm * _FINE)) if s["af"] else 0
        s["af_us"] = row.at_us
        if s["sum"] == 0 and not s["af"]:
            s["onset_us"] = row.at_us - round(16_000 * row.mean_ms)
            s["seen"] = s["fibrillating"] = 0
        add = min(max(row.odds - m.bias, -m.down), m.up)
        s["sum"] = min(max(s["sum"] + round(add * _FINE), 0), round(reach * m.most * _FINE))
        s["seen"] += 1
        s["fibrillating"] += row.odds > 0
        if s["af"] and s["sum"] <= m.clear * _FINE:
            s["af"] = 0
            self._tell_fibrillation(row, ended=True)
        elif not s["af"] and s["sum"] >= reach * m.arm * _FINE:
            s["af"] = 1
            self._tell_fibrillation(row, ended=False)

    def _tell_fibrillation(self, row: Judged, ended: bool) -> None:
        s = self.s
        self._tell(
            "atrial_fibrillation", s["onset_us"], row.at_us, 0.0 if ended else s["sum"] / _FINE / OVERLAP, ended,
            value=60_000 / row.mean_ms, duration_s=(row.at_us - s["onset_us"]) / _S,
            share=s["fibrillating"] / s["seen"], probability=1 / (1 + math.exp(-min(max(row.odds, -30.0), 30.0))),
        )  # fmt: skip

    def _rates(self, row: Judged) -> None:
        s = self.s
        began = row.at_us - round(1000 * row.took_ms)
        if began - s["judged_us"] > SPAN_US:
            s["slow_us"] = s["fast_us"] = NEVER
        s["judged_us"] = row.at_us
        bpm = 60_000 / row.middle_ms
        slow = bpm >= self.low + SLOW_BACK if s["slow"] else bpm <= self.low
        fast = bpm <= self.high - FAST_BACK if s["fast"] else bpm >= self.high
        self._sustained("slow", "bradycardia", slow, began, SLOW_US, (row.at_us, bpm))
        self._sustained("fast", "tachycardia", fast, began, FAST_US, (row.at_us, bpm))

    def _sustained(self, name: str, code: str, turning: bool, began: int, span: int, now: tuple[int, float]) -> None:
        """Begin, or end, when the rate has stayed on the other side of the limit for long enough."""
        s, since = self.s, name + "_us"
        if not turning:
            s[since] = NEVER
            return
        if s[since] == NEVER:
            s[since] = began
        lasted = now[0] - s[since]
        if lasted >= span:
            ended = bool(s[name])
            self._tell(code, s[since], now[0], 0.0 if ended else RATE_LLR, ended, value=now[1], duration_s=lasted / _S)
            s[name], s[since] = 1 - s[name], NEVER

    def _long(self, row: Judged) -> None:
        """An interval of three seconds or more: a pause if steady beats stand on both sides of it."""
        s = self.s
        if s["pause_ms"]:
            self._doubted()
        if row.rr_ms >= LOST_MS:
            return
        steady = row.settled >= 8 and row.spread_ms <= STEADY * row.middle_ms
        s["pause_us"], s["pause_ms"] = row.at_us, round(row.rr_ms)
        s["before_ms"] = round(row.middle_ms) if steady else 0
        if not steady:
            self._doubted()

    def _after_pause(self, row: Judged) -> None:
        s = self.s
        before = s["before_ms"]
        alike = before / CHANGED <= row.middle_ms <= before * CHANGED
        prompt = row.at_us - s["pause_us"] <= FORGET_US
        if not (prompt and alike and row.spread_ms <= STEADY * row.middle_ms):
            self._doubted()
            return
        beats = s["pause_ms"] / before
        missed = abs(beats - round(beats)) <= MISSED
        doubt = s["pause_ms"] >= ASYSTOLE_MS
        llr = DOUBTED_LLR if doubt else MISSED_LLR if missed else PAUSE_LLR
        if not s["paused"]:
            self._tell_pause(row.at_us, llr)
        s["paused"], s["held_us"], s["pause_ms"] = 1, s["pause_us"], 0

    def _doubted(self) -> None:
        """Nothing bears the pause out: only what could be an asystole is told, with little weight, and rarely."""
        s = self.s
        if s["pause_ms"] >= ASYSTOLE_MS and s["pause_us"] - s["faint_us"] > FAINT_HOLD_US:
            s["faint_us"] = s["pause_us"]
            if not s["paused"]:
                s["paused"], s["held_us"] = 1, s["pause_us"]
                self._tell_pause(s["pause_us"], DOUBTED_LLR)
        s["pause_ms"] = 0

    def _tell_pause(self, at_us: int, llr: float) -> None:
        s = self.s
        self._tell(
            "pause", s["pause_us"] - 1000 * s["pause_ms"], at_us, llr, False,
            value=s["pause_ms"] / 1000, duration_s=s["pause_ms"] / 1000,
        )  # fmt: skip

    def _let_go(self, now_us: int) -> None:
        s = self.s
        if s["paused"] and now_us - s["held_us"] > HOLD_US:
            s["paused"] = 0
            self._tell("pause", s["held_us"], now_us, 0.0, True, duration_s=(now_us - s["held_us"]) / _S)
