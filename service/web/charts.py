"""Vitals as drawings: pure functions from points to SVG that a screen reader can read too."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from service.web.display import date_and_time, number, time_of_day
from service.web.text import Translator

WIDTH, HEIGHT = 360, 150
LEFT, RIGHT, TOP, BOTTOM = 34, 34, 10, 24
COLUMNS = 146
"""How many columns a drawn line may have: two units of the drawing each."""
TABLE_ROWS = 30
LEAST_GAP_S = 15.0
LONGEST_BRIDGED_S = 180.0
LEAST_STALE_S = 120.0

Point = tuple[float, float]


def usable(points: Iterable[Sequence[float | None]], since_s: float, until_s: float) -> list[Point]:
    """Return the points inside the window, in order of time, without missing values."""
    kept = [
        (float(at), float(value))
        for at, value in points
        if at is not None and value is not None and math.isfinite(value) and since_s <= at <= until_s
    ]
    return sorted(kept)


def longest_pauses(points: Sequence[Point]) -> list[float]:
    """Return for each interval the longest that a line may be drawn over: three times its neighbours.

    Neighbours, because a device that reports each minute and, in an emergency, each second, is at no
    moment silent; capped, because two long pauses in a row do not excuse each other.
    """
    steps = [b[0] - a[0] for a, b in pairwise(points)]
    most = max(LONGEST_BRIDGED_S, 3 * median(steps)) if steps else LONGEST_BRIDGED_S
    near = [max([*steps[max(0, i - 1) : i], *steps[i + 1 : i + 2]], default=0.0) for i in range(len(steps))]
    return [min(most, max(LEAST_GAP_S, 3 * step)) for step in near]


def segments(points: Sequence[Point]) -> list[list[Point]]:
    """Return runs of points without a pause."""
    runs: list[list[Point]] = [[point] for point in points[:1]]
    for (before, after), longest in zip(pairwise(points), longest_pauses(points), strict=True):
        if after[0] - before[0] <= longest:
            runs[-1].append(after)
        else:
            runs.append([after])
    return runs


def thin(points: Sequence[Point], column_s: float) -> list[Point]:
    """Return at most four points a column: first, lowest, highest, last, so that no extreme is lost."""
    columns: dict[int, list[Point]] = {}
    for point in points:
        columns.setdefault(int(point[0] // column_s), []).append(point)
    kept: list[Point] = []
    for held in columns.values():
        low, high = min(held, key=lambda p: p[1]), max(held, key=lambda p: p[1])
        kept.extend(sorted({held[0], low, high, held[-1]}))
    return kept


def scale(points: Sequence[Point], low: float | None, high: float | None) -> tuple[float, float, list[float]]:
    """Return bottom, top and the round numbers to write beside the axis."""
    marks = [value for _, value in points] + [limit for limit in (low, high) if limit is not None]
    bottom, top = (min(marks), max(marks)) if marks else (0.0, 1.0)
    if top - bottom < 4:
        middle = (top + bottom) / 2
        bottom, top = middle - 2, middle + 2
    pad = (top - bottom) * 0.08
    bottom, top = bottom - pad, top + pad
    ticks: list[float] = []
    for parts in (3, 5, 8):
        step = _round_step((top - bottom) / parts)
        ticks = [n * step for n in range(math.ceil(bottom / step), math.floor(top / step) + 1)]
        if len(ticks) >= 2:
            break
    return bottom, top, ticks


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * n for n in (1, 2, 5, 10) if power * n >= rough)


class _Frame:
    """Where a moment and a value lie on the drawing."""

    def __init__(self, since_s: float, until_s: float, bottom: float, top: float) -> None:
        self.since_s, self.until_s, self.bottom, self.top = since_s, until_s, bottom, top

    def x(self, at_s: float) -> float:
        share = (at_s - self.since_s) / (self.until_s - self.since_s)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        share = (value - self.bottom) / (self.top - self.bottom)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)


def line_chart(
    series: Mapping[str, Any], *, now: datetime, span_s: float, t: Translator, zone: ZoneInfo
) -> Markup:
    """Return one vital's drawing: limits shaded, gaps left open, the stale end hatched."""
    until_s = now.timestamp()
    points = usable(series["points"], until_s - span_s, until_s)
    low, high = series.get("low"), series.get("high")
    bottom, top, ticks = scale(points, low, high)
    frame = _Frame(until_s - span_s, until_s, bottom, top)
    ident = f"chart-{series['code']}"
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-labelledby="{escape(ident)}-t {escape(ident)}-d">',
        f'<title id="{escape(ident)}-t">{escape(_title(series, t))}</title>',
        f'<desc id="{escape(ident)}-d">{escape(description(series, points, span_s, t, zone))}</desc>',
        *_axes(frame, ticks, zone),
        *_limits(frame, low, high),
        *_stale(frame, points, ident, t),
        *_lines(frame, points, span_s),
        *_outliers(frame, points, low, high, span_s),
    ]
    if points:
        parts.append(f'<circle class="last" cx="{frame.x(points[-1][0])}" cy="{frame.y(points[-1][1])}" r="3.5"/>')
    return Markup("".join(parts) + "</svg>")  # noqa: S704 - every text above went through escape()


def _title(series: Mapping[str, Any], t: Translator) -> str:
    return t("chart.title", name=series["name"], unit=series["unit"])


def description(
    series: Mapping[str, Any], points: Sequence[Point], span_s: float, t: Translator, zone: ZoneInfo
) -> str:
    """Return in words what the drawing shows."""
    minutes = round(span_s / 60)
    span = t("chart.span_hours", n=round(minutes / 60)) if minutes >= 120 else t("chart.span_minutes", n=minutes)
    if not points:
        return f"{span} {t('chart.empty')}"
    values = [value for _, value in points]
    said = t(
        "chart.summary",
        low=number(min(values)),
        high=number(max(values)),
        last=number(values[-1]),
        at=time_of_day(datetime.fromtimestamp(points[-1][0], UTC), zone),
        unit=series["unit"],
    )
    limits = " – ".join(number(v) for v in (series.get("low"), series.get("high")) if v is not None)
    return f"{span} {said}" + (f" {t('chart.limits', limits=limits)}" if limits else "")


def _axes(frame: _Frame, ticks: Sequence[float], zone: ZoneInfo) -> list[str]:
    right, base = WIDTH - RIGHT, HEIGHT - BOTTOM
    drawn = [
        f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{frame.y(v)}" y2="{frame.y(v)}"/>'
        f'<text class="tick" x="{LEFT - 5}" y="{frame.y(v) + 4}" text-anchor="end">{number(v)}</text>'
        for v in ticks
    ]
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        at = frame.since_s + share * (frame.until_s - frame.since_s)
        label = time_of_day(datetime.fromtimestamp(at, UTC), zone)[:5]
        drawn.append(f'<text class="tick" x="{frame.x(at)}" y="{HEIGHT - 6}" text-anchor="{anchor}">{label}</text>')
    drawn.append(f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{base}" y2="{base}"/>')
    return drawn


def _limits(frame: _Frame, low: float | None, high: float | None) -> list[str]:
    if low is None and high is None:
        return []
    upper = frame.y(high) if high is not None else TOP
    lower = frame.y(low) if low is not None else HEIGHT - BOTTOM
    width = WIDTH - LEFT - RIGHT
    drawn = [f'<rect class="band" x="{LEFT}" y="{upper}" width="{width}" height="{max(0.0, lower - upper):.1f}"/>']
    for limit in (low, high):
        if limit is not None:
            y = frame.y(limit)
            drawn.append(f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
            drawn.append(f'<text class="limit-text" x="{WIDTH - RIGHT + 4}" y="{y + 4}">{number(limit)}</text>')
    return drawn


def _stale(frame: _Frame, points: Sequence[Point], ident: str, t: Translator) -> list[str]:
    """The end without readings is hatched: an empty right edge reads as "nothing happened"."""
    last = points[-1][0] if points else frame.since_s
    if points and frame.until_s - last <= max([LEAST_STALE_S, *longest_pauses(points)[-1:]]):
        return []
    left, right = frame.x(last), WIDTH - RIGHT
    label = t("chart.stale") if points else t("chart.empty")
    drawn = [
        f'<defs><pattern id="{escape(ident)}-h" width="6" height="6" patternUnits="userSpaceOnUse" '
        f'patternTransform="rotate(45)"><line class="hatch" x1="0" y1="0" x2="0" y2="6"/></pattern></defs>',
        f'<rect x="{left}" y="{TOP}" width="{right - left:.1f}" height="{HEIGHT - TOP - BOTTOM}" '
        f'fill="url(#{escape(ident)}-h)"/>',
    ]
    if right - left >= 70:
        middle = (left + right) / 2
        drawn.append(
            f'<text class="stale-text" x="{middle:.1f}" y="{(TOP + HEIGHT - BOTTOM) / 2 + 4}" '
            f'text-anchor="middle">{escape(label)}</text>'
        )
    return drawn


def _lines(frame: _Frame, points: Sequence[Point], span_s: float) -> list[str]:
    drawn = []
    for run in segments(points):
        dots = [(frame.x(at), frame.y(value)) for at, value in thin(run, span_s / COLUMNS)]
        if len(dots) == 1:
            drawn.append(f'<circle class="dot" cx="{dots[0][0]}" cy="{dots[0][1]}" r="1.8"/>')
        else:
            path = " ".join(f"{x},{y}" for x, y in dots)
            drawn.append(f'<polyline class="line" points="{path}"/>')
    return drawn


def beyond(value: float, low: float | None, high: float | None) -> bool:
    """Return whether a value lies outside its limits."""
    return (low is not None and value < low) or (high is not None and value > high)


def _outliers(
    frame: _Frame, points: Sequence[Point], low: float | None, high: float | None, span_s: float
) -> list[str]:
    out = thin([p for p in points if beyond(p[1], low, high)], span_s / (COLUMNS / 3))
    return [f'<circle class="out" cx="{frame.x(at)}" cy="{frame.y(value)}" r="2.4"/>' for at, value in out]


def table_rows(
    series: Mapping[str, Any], *, now: datetime, span_s: float, t: Translator, zone: ZoneInfo
) -> list[dict[str, Any]]:
    """Return the same data as rows, the last value in each slice of time, newest first."""
    until_s = now.timestamp()
    points = usable(series["points"], until_s - span_s, until_s)
    slices = {int((until_s - at) // (span_s / TABLE_ROWS)): (at, value) for at, value in points}
    rows = []
    for _, (at, value) in sorted(slices.items()):
        moment = datetime.fromtimestamp(at, UTC)
        rows.append(
            {
                "at": time_of_day(moment, zone) if span_s <= 7_200 else date_and_time(moment, t, zone),
                "value": number(value),
                "beyond": beyond(value, series.get("low"), series.get("high")),
            }
        )
    return rows
