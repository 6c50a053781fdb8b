"""All signs of one person weighed together: one picture, of one severity, with its three strongest reasons.

Each layer's finding carries a log-likelihood ratio. A sign counts in full while its layer stands by it, then fades;
a layer counts no more than its cap, so that none is believed alone beyond what it is good for. The sum arms a tier at
its threshold h and lets go at 0.3 h. Severity only rises until a person clears it. Hard signs are not weighed: they
reach their tier at once, whatever budgets and verdicts say.

Evidence only fades between findings. So judging it at each finding, and at the time of the newest data, gives the
same decisions however the data were divided into uploads, as long as they come in order of time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from devices.signals.finding import Finding
from service.detection import budget
from service.detection.budget import (
    DAY_S,
    FLOOR_NATS,
    USUAL,
    Budget,
    Cause,
    Floats,
    Ints,
    Records,
    Tier,
    code_key,
)
from service.detection.segments import Bools
from service.detection.signs import (
    CAP_NATS,
    HALF_S,
    HARD,
    HARD_BIT,
    HOLD_S,
    LAYER,
    LAYERS,
    NAMES,
    OTHER_BIT,
    Decision,
    Reason,
    hard_bit,
    independent,
    weight,
)

ENDED_SHARE = 0.25
"""A sign that ended fades four times as fast (policy)."""
FADED_NATS = 0.05
CLEAR_SHARE = 0.3
"""Clear at 0.3 h (DETECTION.md section 4: hysteresis)."""
AGAIN_NATS = 1.0
AGAIN_S = 43_200
"""After a person has cleared it, the same evidence does not ask again: it must fall to 0.3 h first, or grow by one
nat, or 12 hours pass (policy)."""

SLOTS = 10
REASONS = 3
MOST_DAYS = 31
"""Days without data that still count as quiet ones; older ones are left out (policy)."""
_SLOT = np.dtype(
    [
        ("code", "<u4"),
        ("layer", "<u1"),
        ("ended", "<u1"),
        ("nats", "<f4"),
        ("onset", "<u4"),
        ("at", "<u4"),
        ("told", "<u4"),
        ("value", "<f4"),
        ("usual", "<f4"),
    ]
)
STATE = np.dtype(
    [
        ("slot", _SLOT, SLOTS),
        ("front", "<u4"),
        ("armed", "<u1"),
        ("armed_nats", "<f4"),
        ("level", "<u1"),
        ("hard", "<u4"),
        ("cleared_nats", "<f4"),
        ("cleared_at", "<u4"),
        ("budget", budget.STATE),
    ]
)


def blank(count: int = 1) -> Records:
    """Records of people about whom nothing was ever found, STATE[count]."""
    records = np.zeros(count, dtype=STATE)
    records["budget"] = budget.blank(count)
    return records


def _evidence(records: Records, at_s: Ints) -> Floats:
    """Nats of each sign at an instant, faded by age, capped by its layer, float64[n, SLOTS]."""
    slot = records["slot"]
    layer = slot["layer"]
    since = at_s[:, None] - slot["at"].astype(np.int64)
    ended = slot["ended"] > 0
    faded = np.maximum(np.where(ended, since, since - HOLD_S[layer]), 0)
    left = slot["nats"] * np.exp2(-faded / np.where(ended, HALF_S[layer] * ENDED_SHARE, HALF_S[layer]))
    found: Floats = np.where(slot["code"] > 0, np.minimum(left, CAP_NATS[layer]), 0.0)
    return found


def _sum(slot: Records, nats: Floats) -> Floats:
    """Sum over signs, each layer capped."""
    nats = independent(slot["code"], slot["nats"], nats)
    by_layer = np.where(slot["layer"][:, :, None] == np.arange(len(LAYERS)), nats[:, :, None], 0.0).sum(axis=1)
    total: Floats = np.minimum(by_layer, CAP_NATS).sum(axis=1)
    return total


def _scores(records: Records, at_s: Ints) -> tuple[Floats, Floats]:
    """Evidence as it is, and with verdicts taken off, float64[n] each."""
    slot, nats = records["slot"], _evidence(records, at_s)
    lift = budget.lifts(records["budget"], slot["code"], at_s)
    raw = _sum(slot, nats)
    return raw, _sum(slot, np.maximum(nats - lift, 0.0)) if lift.any() else raw


def _reached(raw: Floats, score: Floats, arm: Floats) -> Ints:
    """Highest tier that evidence reaches: by this person's thresholds, or by the sensitivity floor."""
    by_person = score[:, None] >= arm
    by_floor = raw[:, None] >= FLOOR_NATS
    return (by_person | by_floor).sum(axis=1) - 1


def _settle(records: Records, raw: Floats, score: Floats) -> None:
    """Let go of what has fallen to 0.3 h; a line then ends, what people were told of waits for a person."""
    gone = np.maximum(raw, score) <= CLEAR_SHARE * records["armed_nats"]
    records["armed"][gone] = 0
    records["level"][gone & (records["level"] <= Tier.LINE)] = 0
    records["cleared_nats"][gone] = 0


def _arm(records: Records, raw: Floats, score: Floats, arm: Floats, at_s: Ints) -> Bools:
    """Arm and raise; returns who has something new to be told."""
    cleared = records["cleared_nats"].astype(np.float64)
    waits = (cleared > 0) & (at_s - records["cleared_at"].astype(np.int64) < AGAIN_S) & (raw < cleared + AGAIN_NATS)
    waits &= (raw[:, None] >= FLOOR_NATS).sum(axis=1) <= (cleared[:, None] >= FLOOR_NATS).sum(axis=1)
    reached = np.where(waits, 0, _reached(raw, score, arm))
    level = records["level"].astype(np.int64)
    new: Bools = (reached > level) | ((reached > 0) & (records["armed"] == 0))
    at_level = arm[np.arange(records.size), reached]
    before = np.where(records["armed"] > 0, records["armed_nats"], 0.0)
    records["armed_nats"] = np.where(new, np.maximum(at_level, before), records["armed_nats"])
    records["armed"][new] = 1
    records["cleared_nats"][new] = 0
    records["level"] = np.maximum(level, reached)
    return new


def _seconds(us: int) -> int:
    return int(min(max(us // 1_000_000, 0), 2**32 - 1))


def _number(params: dict[str, float | int | str | bool | None], name: str) -> float:
    value = params.get(name)
    usable = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if usable and value is not None else float("nan")


def _place(record: Records, key: int, nats: float, at_s: Ints) -> int | None:
    """The slot of a sign: its own, a free one, or that of the weakest if it is weaker; else None."""
    codes = record["slot"]["code"][0]
    own = np.flatnonzero(codes == key)
    if own.size:
        return int(own[0])
    left = _evidence(record, at_s)[0]
    weakest = int(left.argmin())
    return weakest if codes[weakest] == 0 or left[weakest] < nats else None


def _add(record: Records, finding: Finding, at_s: int) -> None:
    """Write one finding into one person's slots."""
    now = np.array([at_s])
    key, layer = code_key(finding.code), LAYER.get(finding.layer, 0)
    nats = weight(finding, layer)
    told, onset = min(_seconds(finding.at_us), at_s), min(_seconds(finding.onset_us), _seconds(finding.at_us), at_s)
    i = _place(record, key, nats, now)
    if i is None:
        return
    slot = record["slot"][0, i : i + 1]
    if slot["code"][0] != key:
        if finding.ended or nats <= 0:
            return
        slot["code"], slot["layer"], slot["ended"], slot["nats"] = key, layer, 0, 0.0
        slot["at"], slot["told"], slot["onset"] = told, told, onset
    left = float(_evidence(record, now)[0, i])
    if told < (slot["at"] if slot["ended"][0] else slot["told"])[0]:
        return  # news of earlier than what is known already
    if finding.ended:
        if not slot["ended"][0]:
            slot["nats"], slot["at"], slot["ended"] = left, at_s, 1
        return
    slot["onset"] = onset if left < FADED_NATS else min(int(slot["onset"][0]), onset)
    # Told again it counts for whichever is more: what is left of it, or the new figure.
    slot["nats"], slot["at"] = (nats, told) if nats >= left else (left, at_s)
    slot["told"], slot["ended"] = told, 0
    slot["value"], slot["usual"] = _number(finding.params, "value"), _number(finding.params, "usual")


def _take(record: Records, findings: Sequence[Finding], limit: Budget) -> tuple[list[Decision], int]:
    """Judge one person's findings in order of time; what is to be told, and the hard signs among them."""
    told: list[Decision] = []
    bits = 0
    names = {code_key(one.code): one.code for one in findings}
    for finding in sorted(findings, key=lambda one: one.at_us):
        at_s = np.array([max(_seconds(finding.at_us), int(record["front"][0]))])
        told += _pass_time(record, at_s, limit)
        _add(record, finding, int(at_s[0]))
        fresh = _harden(record, hard_bit(finding))
        bits |= hard_bit(finding)
        raw, score = _scores(record, at_s)
        if _arm(record, raw, score, budget.thresholds(record["budget"], limit), at_s)[0] or fresh:
            told.append(_decision(record, int(at_s[0]), limit, names, opened=True))
        budget.note(record["budget"], score)
    return told, bits


def _end_days(records: Records, at_s: Ints) -> None:
    """Let each day that ended teach its threshold, in place, with the evidence that it handed on at midnight."""
    today = at_s // DAY_S
    while True:
        behind = (records["budget"]["day"] < today).nonzero()[0]
        if not behind.size:
            return
        some = records[behind]
        day, last = some["budget"]["day"].astype(np.int64), today[behind]
        following = np.where(day < 0, last, np.maximum(day + 1, last - MOST_DAYS))
        _, score = _scores(some, following * DAY_S)
        days = some["budget"]
        budget.roll(days, following, score)
        some["budget"] = days
        records[behind] = some


def _pass_time(record: Records, at_s: Ints, limit: Budget) -> list[Decision]:
    """Go on to a later moment: evidence fades, days end."""
    level, armed = Tier(int(record["level"][0])), bool(record["armed"][0])
    raw, score = _scores(record, at_s)
    _settle(record, raw, score)
    _end_days(record, at_s)
    record["front"] = at_s
    if armed and not record["armed"][0]:
        return [_decision(record, int(at_s[0]), limit, {}, ended=True, level=level)]
    return []


def _harden(record: Records, bits: int) -> bool:
    """Hard signs reach their tier at once; whether one of them is new."""
    if not bits:
        return False
    before = int(record["hard"][0])
    tiers = [tier for code, tier in HARD.items() if bits & HARD_BIT[code]] or [Tier.RING]
    record["level"] = max(int(record["level"][0]), *tiers)
    record["budget"]["day_event"] = 1
    record["hard"] = before | bits
    return bits & ~before != 0


def fuse(
    records: Records,
    findings: Sequence[Sequence[Finding]],
    hard_active: Sequence[Collection[str]],
    until_us: Ints | Sequence[int],
    limit: Budget = USUAL,
) -> dict[int, list[Decision]]:
    """Weigh what an upload of each of a group of people showed.

    Parameters
    ----------
    records : STATE[n]
        Each person's picture; changed in place.
    findings : n sequences of Finding
        What the layers found in this upload, in any order.
    hard_active : n collections of str
        Codes of the hard conditions of the first layer that hold now: keys of `HARD`; another code counts as hard
        too. `heart_rate_high` and `heart_rate_low` belong here only at their hard limits.
    until_us : int64[n]
        Time of the newest data that was judged (not of receipt), microseconds UTC; 0 leaves the clock alone.
    limit : Budget

    Returns
    -------
    dict[int, list[Decision]]
        By place in `records`: what there is to tell, in order of time; most have nothing. The same findings in order
        of time give the same decisions, however they are divided.

    Raises
    ------
    ValueError
        If the sequences differ in length.
    """
    if not records.size == len(findings) == len(hard_active) == len(until_us):
        raise ValueError(
            "records, findings, hard_active and until_us must be of one length, were "
            f"{records.size}, {len(findings)}, {len(hard_active)}, {len(until_us)}: give one of each a person"
        )
    at_s = np.minimum(np.maximum(np.asarray(until_us, dtype=np.int64) // 1_000_000, 0), 2**32 - 1)
    told: dict[int, list[Decision]] = {}
    was_hard = records["hard"].tolist()
    for i in range(records.size):
        if findings[i] or hard_active[i] or was_hard[i]:
            one = records[i : i + 1]
            news, bits = _take(one, findings[i], limit) if findings[i] else ([], 0)
            held = 0
            for code in hard_active[i]:
                held |= HARD_BIT.get(code, OTHER_BIT)
            fresh = _harden(one, held)
            one["hard"] = held | bits  # what a finding alone told is of the moment
            if fresh:
                news.append(_decision(one, max(int(at_s[i]), int(one["front"][0])), limit, {}, opened=True))
            if news:
                told[i] = news
    front = np.maximum(records["front"], at_s)
    # With nothing armed and no day at its end, time changes nothing.
    for i in ((records["armed"] > 0) & (front > records["front"])).nonzero()[0].tolist():
        news = _pass_time(records[i : i + 1], front[i : i + 1], limit)
        if news:
            told.setdefault(i, []).extend(news)
    records["front"] = front
    _end_days(records, front)
    return told


def _decision(
    record: Records,
    now_s: int,
    limit: Budget,
    names: dict[int, str],
    *,
    opened: bool = False,
    ended: bool = False,
    level: Tier | None = None,
) -> Decision:
    at_s = np.array([now_s])
    raw, score = _scores(record, at_s)
    arm = budget.thresholds(record["budget"], limit)
    nats = _evidence(record, at_s)[0]
    slot = record["slot"][0]
    order = [int(i) for i in np.argsort(-nats, kind="stable")[:REASONS] if nats[i] >= FADED_NATS]
    reasons = tuple(_reason(slot[i], float(nats[i]), now_s, NAMES | names) for i in order)
    bits = int(record["hard"][0])
    hard = tuple(code for code in HARD if bits & HARD_BIT[code]) + (("other",) if bits & OTHER_BIT else ())
    step = min(int(_reached(raw, score, arm)[0]) + 1, int(Tier.DISPATCH))
    now_level = Tier(int(record["level"][0])) if level is None else level
    score_told = round(float(raw[0]), 3)
    return Decision(now_s * 1_000_000, now_level, opened, ended, score_told, float(arm[0, step]), reasons, hard)


def _reason(slot: Records, nats: float, now_s: int, names: dict[int, str]) -> Reason:
    layer = LAYERS[int(slot["layer"])].name
    value, usual = float(slot["value"]), float(slot["usual"])
    last = int(slot["at"]) if slot["ended"] else now_s
    return Reason(
        code=names.get(int(slot["code"]), layer),
        layer=layer,
        nats=round(nats, 3),
        value=None if np.isnan(value) else round(value, 2),
        usual=None if np.isnan(usual) else round(usual, 2),
        age_s=max(now_s - int(slot["told"]), 0),
        duration_s=max(last - int(slot["onset"]), 0),
        ended=bool(slot["ended"]),
    )


def picture(record: Records, now_us: int, limit: Budget = USUAL) -> Decision:
    """One person as a page may show them now; changes nothing. `record` is STATE[1]."""
    now_s = max(_seconds(now_us), int(record["front"][0]))
    return _decision(record, now_s, limit, {})


def clear(record: Records, now_us: int) -> None:
    """A person has closed the incident or read the line: severity starts anew, in place.

    The same evidence does not ask again at once; more of it does, and hard signs do whenever they begin anew.
    """
    at_s = max(_seconds(now_us), int(record["front"][0]))
    raw, _ = _scores(record, np.array([at_s]))
    record["level"] = 0
    if record["armed"][0]:
        record["cleared_nats"], record["cleared_at"] = raw, at_s


def false_alarm(record: Records, codes: Collection[str], cause: Cause, now_us: int) -> None:
    """A person's verdict "false alarm, because …" on the signs of an incident, in place; clears it too."""
    held = record["budget"]
    for code in codes:
        if code not in HARD:
            budget.false_alarm(held, code, cause, now_us)
    clear(record, now_us)


def true_alarm(record: Records, codes: Collection[str], now_us: int) -> None:
    """A person's verdict that something had happened, in place; clears it too."""
    held = record["budget"]
    budget.true_alarm(held, tuple(codes))
    clear(record, now_us)
