from __future__ import annotations

import csv

import numpy as np
import pytest
from detection_rows import shared
from hypothesis import given
from hypothesis import strategies as st

from service.detection.news2 import BANDS, PARAMETERS, score

NORMAL = {
    "resp": 16.0,
    "spo2": 98.0,
    "scale": 1,
    "oxygen": 0.0,
    "sys": 120.0,
    "pulse": 70.0,
    "alert": 0.0,
    "temp": 37.0,
}
COLUMN = dict(zip(("resp", "spo2", "oxygen", "sys", "pulse", "alert", "temp"), range(7), strict=True))


def one(**changed):
    v = NORMAL | changed
    return score(
        np.array([v["resp"]]), np.array([v["spo2"]]), np.array([v["scale"] == 2]), np.array([v["oxygen"]]),
        np.array([v["sys"]]), np.array([v["pulse"]]), np.array([v["alert"]]), np.array([v["temp"]]),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("vital", "steps"),
    [
        ("resp", [(0, 3), (8, 3), (9, 1), (11, 1), (12, 0), (20, 0), (21, 2), (24, 2), (25, 3), (60, 3)]),
        ("spo2", [(50, 3), (91, 3), (92, 2), (93, 2), (94, 1), (95, 1), (96, 0), (100, 0)]),
        ("oxygen", [(0, 0), (1, 2)]),
        ("sys", [(60, 3), (90, 3), (91, 2), (100, 2), (101, 1), (110, 1), (111, 0), (219, 0), (220, 3), (280, 3)]),
        ("pulse", [(0, 3), (40, 3), (41, 1), (50, 1), (51, 0), (90, 0), (91, 1), (110, 1), (111, 2), (130, 2),
                   (131, 3)]),
        ("alert", [(0, 0), (1, 3)]),
        ("temp", [(33.0, 3), (35.0, 3), (35.04, 3), (35.05, 1), (35.1, 1), (36.0, 1), (36.1, 0), (38.0, 0), (38.04, 0),
                  (38.1, 1), (39.0, 1), (39.1, 2), (41.0, 2)]),
    ],
)  # fmt: skip
def test_every_row_of_the_chart_gives_its_points(vital, steps):
    for value, points in steps:
        result = one(**{vital: float(value)})
        assert result.points[0, COLUMN[vital]] == points, (vital, value)
        # Oxygen changes nothing about SpO2 on scale 1.
        assert result.total_known[0] == points


def test_scale_2_aims_at_88_to_92_and_punishes_more_only_on_oxygen():
    table = [(70, 3), (83, 3), (84, 2), (85, 2), (86, 1), (87, 1), (88, 0), (92, 0)]
    for oxygen, high in ((0.0, [(93, 0), (95, 0), (97, 0)]), (1.0, [(93, 1), (94, 1), (95, 2), (96, 2), (97, 3)])):
        for spo2, points in table + high:
            assert one(spo2=float(spo2), scale=2, oxygen=oxygen).points[0, 1] == points, (spo2, oxygen)


def test_totals_of_seven_and_more_ask_for_the_emergency_response():
    # 3 + 2 + 2 = 7, worked by hand from the chart.
    seven = one(resp=25.0, spo2=93.0, pulse=115.0)
    assert (seven.total_known[0], BANDS[seven.band[0]]) == (7, "high")
    # 2 + 3 + 2 + 1 + 1 = 9 with oxygen.
    nine = one(resp=22.0, spo2=90.0, oxygen=1.0, sys=105.0, temp=38.5)
    assert (nine.total_known[0], BANDS[nine.band[0]]) == (9, "high")
    # Everything at its worst: 3 + 3 + 2 + 3 + 3 + 3 + 3.
    worst = one(resp=30.0, spo2=80.0, oxygen=1.0, sys=70.0, pulse=150.0, alert=1.0, temp=34.0)
    assert (worst.total_known[0], worst.known[0], BANDS[worst.band[0]]) == (20, 7, "high")


def test_bands_follow_the_total_and_a_single_three():
    for changed, total, band in (
        ({}, 0, "routine"),
        ({"temp": 38.5}, 1, "low"),
        ({"resp": 22.0, "temp": 39.5}, 4, "low"),
        ({"resp": 25.0}, 3, "low-medium"),
        ({"resp": 25.0, "temp": 38.5}, 4, "low-medium"),
        ({"resp": 25.0, "temp": 39.5}, 5, "medium"),
        ({"resp": 25.0, "pulse": 115.0, "temp": 38.5}, 6, "medium"),
    ):
        result = one(**changed)
        assert (result.total_known[0], BANDS[result.band[0]]) == (total, band), changed


def test_what_is_missing_is_named_and_never_scored_as_normal():
    nan = float("nan")
    result = one(sys=nan, oxygen=nan, alert=nan, temp=nan, resp=25.0)
    assert result.total_known[0] == 3
    assert result.known[0] == 3
    assert result.missing(0) == ("on_oxygen", "systolic_mmhg", "consciousness", "temperature_c")
    assert np.isnan(result.points[0, 3])
    assert result.worst(0) == "respiratory_rate_bpm"
    assert one().worst(0) is None


def test_the_published_vectors_agree():
    with shared("conformance/news2/vectors_dev.csv").open() as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 170

    def column(name):
        return np.array([float(r[name]) for r in rows])

    result = score(
        column("respiratory_rate"), column("spo2"), column("spo2_scale") == 2, column("on_oxygen"),
        column("systolic_bp"), column("pulse"), np.array([float(r["acvpu"] != "A") for r in rows]),
        column("temperature_c"),
    )  # fmt: skip
    for i, name in enumerate(("s_rr", "s_spo2", "s_o2", "s_sbp", "s_pulse", "s_acvpu", "s_temp")):
        np.testing.assert_array_equal(result.points[:, i], column(name), err_msg=name)
    np.testing.assert_array_equal(result.total_known, column("total"))
    np.testing.assert_array_equal(result.single_parameter_3, column("single_parameter_3"))
    assert [BANDS[b] for b in result.band] == [r["band_rcp"] for r in rows]


values = st.tuples(
    st.floats(0, 60), st.floats(50, 100), st.sampled_from([0.0, 1.0]), st.floats(60, 260), st.floats(0, 220),
    st.sampled_from([0.0, 1.0]), st.floats(30, 42),
)  # fmt: skip


@given(values, st.sets(st.integers(0, 6)), st.booleans())
def test_leaving_out_a_parameter_lowers_the_total_by_at_most_its_own_points(row, gone, scale_2):
    def scored(v):
        resp, spo2, oxygen, systolic, pulse, alert, temp = (np.array([x]) for x in v)
        return score(resp, spo2, np.array([scale_2]), oxygen, systolic, pulse, alert, temp)

    whole = scored(row)
    partial = scored([np.nan if i in gone else x for i, x in enumerate(row)])
    assert partial.known[0] == 7 - len(gone)
    assert set(partial.missing(0)) == {PARAMETERS[i] for i in gone}
    assert partial.total_known[0] <= whole.total_known[0]
    kept = [i for i in range(7) if i not in gone and not (i == 1 and 2 in gone)]
    np.testing.assert_array_equal(partial.points[0, kept], whole.points[0, kept])
