"""The drawings: no invented data, no lost extreme, the same for those who cannot see them."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.web import charts
from service.web.text import Translator

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SEOUL = ZoneInfo("Asia/Seoul")
T = NOW.timestamp()
SPAN = 1_800.0
ko, en = Translator("ko", strict=True), Translator("en", strict=True)


def series(points: list[Any], **changes: Any) -> dict[str, Any]:
    return {
        "code": "spo2_pct",
        "name": "SpO2",
        "unit": "%",
        "low": 90.0,
        "high": None,
        "points": points,
        **changes,
    }


def drawn(points: list[Any], **changes: Any) -> str:
    return str(charts.line_chart(series(points, **changes), now=NOW, span_s=SPAN, t=en, zone=SEOUL))


def steady(first_s: int, last_s: int, value: float = 96.0, step_s: int = 10) -> list[list[float]]:
    return [[T - s, value] for s in range(first_s, last_s, -step_s)]


def test_pause_is_not_bridged() -> None:
    assert drawn(steady(1_800, 1_200) + steady(600, 0)).count("<polyline") == 2
    assert drawn(steady(1_800, 0)).count("<polyline") == 1


def test_slow_and_fast_readings_make_one_line() -> None:
    slow, fast = steady(1_800, 300, step_s=60), steady(300, 0, step_s=5)
    assert drawn(slow + fast).count("<polyline") == 1


def test_two_long_pauses_in_a_row_do_not_excuse_each_other() -> None:
    assert len(charts.segments([(T - 1_200, 96.0), (T - 700, 96.0), *[(T - s, 96.0) for s in range(60, 0, -10)]])) == 3


def test_missing_values_are_left_out_and_never_drawn_as_zero() -> None:
    points = [[T - 30, 96.0], [T - 20, None], [T - 10, math.nan], [T, 97.0]]
    assert charts.usable(points, T - SPAN, T) == [(T - 30, 96.0), (T, 97.0)]


def test_stale_end_is_hatched_and_said() -> None:
    stale = drawn(steady(1_800, 900))
    assert "<pattern" in stale and "No data since" in stale
    assert "<pattern" not in drawn(steady(1_800, 0))


def test_no_points_at_all_is_said() -> None:
    empty = drawn([])
    assert "No data" in empty and "<polyline" not in empty and 'class="last"' not in empty


def test_limits_are_drawn_as_a_band_open_above_if_there_is_no_upper_one() -> None:
    svg = drawn(steady(1_800, 0))
    band = re.search(r'class="band"[^>]* y="([\d.]+)"', svg)
    assert band and float(band[1]) == charts.TOP
    assert svg.count('class="limit"') == 1
    assert 'class="band"' not in drawn(steady(1_800, 0), low=None)


def test_values_outside_the_limits_are_marked() -> None:
    assert 'class="out"' in drawn([*steady(1_800, 20), [T - 10, 84.0]])
    assert 'class="out"' not in drawn(steady(1_800, 0))


def test_chart_has_a_name_and_a_description_in_words() -> None:
    root = ElementTree.fromstring(drawn([*steady(1_800, 20), [T - 10, 84.0]]))
    said = {child.tag: child.text or "" for child in root}
    assert said["title"] == "SpO2 (%)"
    assert "Lowest 84, highest 96, last value 84 % at 20:59:50." in said["desc"]
    assert "Alarm limits: 90." in said["desc"]
    assert root.get("role") == "img"


def test_names_are_escaped() -> None:
    svg = drawn(steady(60, 0), name="<b>&", code='x" onload="y')
    ElementTree.fromstring(svg)
    assert "<b>" not in svg and 'onload="y"' not in svg


def test_table_holds_the_last_value_of_each_slice_newest_first() -> None:
    rows = charts.table_rows(series([*steady(1_800, 0), [T - 1, 88.0]]), now=NOW, span_s=SPAN, t=ko, zone=SEOUL)
    assert rows[0] == {"at": "20:59:59", "value": "88", "beyond": True}
    assert len(rows) <= charts.TABLE_ROWS + 1
    assert [r["at"] for r in rows] == sorted((r["at"] for r in rows), reverse=True)


def test_thousands_of_points_stay_a_small_drawing_and_keep_the_one_dip() -> None:
    points = [[T - s, 96.0 + (s % 3)] for s in range(21_600, 0, -1)]
    points[10_000][1] = 71.0
    svg = charts.line_chart(series(points), now=NOW, span_s=21_600, t=en, zone=SEOUL)
    assert len(svg) < 20_000
    assert (points[10_000][0], 71.0) in charts.thin([(a, b) for a, b in points], 21_600 / charts.COLUMNS)
    assert "Lowest 71" in svg


@given(
    st.lists(
        st.tuples(st.floats(T - 5_000, T + 500), st.none() | st.floats(-50, 500) | st.just(math.nan)),
        max_size=60,
    )
)
def test_any_points_give_a_well_formed_drawing_within_its_frame(
    points: list[tuple[float, float | None]],
) -> None:
    svg = drawn([list(p) for p in points])
    root = ElementTree.fromstring(svg)
    for circle in root.iter("circle"):
        assert charts.LEFT - 1 <= float(circle.get("cx", "nan")) <= charts.WIDTH - charts.RIGHT + 1
        assert 0 <= float(circle.get("cy", "nan")) <= charts.HEIGHT


@pytest.mark.parametrize("values", [[72.0], [72.0, 72.0], [0.0, 400.0], [36.5, 36.7], [83.0, 98.0], [15.0, 27.0]])
def test_axis_has_a_few_round_marks_inside_the_frame(values: list[float]) -> None:
    bottom, top, ticks = charts.scale([(T, v) for v in values], None, None)
    assert 2 <= len(ticks) <= 6
    assert bottom <= min(ticks) and max(ticks) <= top
    assert bottom < min(values) and max(values) < top
