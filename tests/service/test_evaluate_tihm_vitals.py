from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest

from service.detection import home_vitals
from service.tools.evaluation import tihm_vitals

DATA = Path(__file__).parents[2] / "../shared/data"
KINDS = ("Systolic blood pressure", "Diastolic blood pressure", "Heart rate")
QUIET = [130.0, 78.0, 70.0]


def write(folder: Path, readings, labels) -> Path:
    """Recordings of the layout that the set has; the clock of labels is an hour behind."""
    tables = {
        "physiology": ["patient_id,date,device_type,value,unit"]
        + [f"{who},{at},{kind},{value},u" for who, at, values in readings
           for kind, value in zip(KINDS, values, strict=True) if value is not None],
        "labels": ["patient_id,date,type"] + [",".join(label) for label in labels],
        "demographics": ["patient_id,age,sex", *sorted({f'{who},"(80, 90]",Female' for who, _, _ in readings})],
    }  # fmt: skip
    (folder / "tihm").mkdir()
    for name, lines in tables.items():
        (folder / f"tihm/{name}.csv.xz").write_bytes(lzma.compress("\n".join(lines).encode()))
    return folder


def positive(folder: Path, readings, labels, sign: str = "blood_pressure") -> list[bool]:
    return tihm_vitals.load(write(folder, readings, labels)).positive(sign).tolist()


def test_a_morning_label_belongs_to_the_evening_before(tmp_path):
    readings = [("a", "2019-05-01 21:40:00", [149, 108, 65]), ("a", "2019-05-02 15:00:00", QUIET)]
    assert positive(tmp_path, readings, [("a", "2019-05-02 08:00:00", "Blood pressure")]) == [True, False]


def test_a_label_belongs_to_no_later_reading(tmp_path):
    readings = [("a", "2019-05-01 09:00:00", [168, 80, 65]), ("a", "2019-05-01 23:50:00", QUIET),
                ("a", "2019-05-02 09:00:00", QUIET)]  # fmt: skip
    assert positive(tmp_path, readings, [("a", "2019-05-01 22:20:00", "Blood pressure")]) == [True, False]
    found = tihm_vitals.load(tmp_path)
    assert tihm_vitals.labelled_day({10 * 86_400 + 5: np.array(QUIET)}, "pulse", 10 * 86_400 - 5) == 9
    assert len(found.labels["blood_pressure"]) == 1


def test_a_label_belongs_to_a_reading_of_its_own_vital(tmp_path):
    readings = [("a", "2019-05-01 22:00:00", [170, 80, None]), ("a", "2019-05-02 07:00:00", [None, None, 70])]
    assert positive(tmp_path, readings, [("a", "2019-05-02 08:00:00", "Blood pressure")]) == [True, False]


def test_a_label_without_a_reading_is_counted_as_lost(tmp_path):
    readings = [("a", "2019-05-01 09:00:00", QUIET)]
    assert positive(tmp_path, readings, [("a", "2019-05-03 08:00:00", "Pulse")], "pulse") == [False]
    rows = tihm_vitals.evaluate(tmp_path, "frozen", False, lambda _: None).rows
    assert "1 labelled days without a reading are not counted" in {row.note for row in rows}


def test_of_equal_thresholds_the_one_with_more_in_hand_is_taken():
    positive = np.array([True] * 9 + [False] * 8)
    log_odds = np.array([5.0] * 9 + [-2.0] + [-7.0] * 7)
    # Either gap misses nothing, and sensitivity has least in hand; the lower one tells a day more.
    assert -2.0 < tihm_vitals.working_point(log_odds, positive, (0.92, 0.82)) < 5.0


def people(count: int = 12):
    """People whose readings at a limit were confirmed from the third day on; a slow pulse is rarer than a fast one."""
    readings, labels = [], []
    for i in range(count):
        for day in range(1, 15):
            values = list(QUIET)
            if day in (1, 7, 11):
                values[0] = 170.0
            if day in (2, 9):
                values[2] = 44.0 if i == 0 else 108.0
            at = f"2019-05-{day:02d} 10:00:00"
            readings.append((f"p{i:02d}", at, values))
            if day > 2 and values != QUIET:
                labels.append((f"p{i:02d}", at.replace("10:", "09:"), "Pulse" if day == 9 else "Blood pressure"))
    return readings, labels


def test_both_sides_of_the_pulse_share_their_weights(tmp_path):
    days = tihm_vitals.load(write(tmp_path, *people()))
    _, pulse = tihm_vitals.train(days, np.ones(len(days.day), dtype=bool))
    sides = pulse.weights[home_vitals.AROUND :]
    assert sides[0] > 1 and (sides[:2] == sides[2:]).all()


def test_pulse_takes_the_settling_days_of_pressure(tmp_path):
    days = tihm_vitals.load(write(tmp_path, *people()))
    pressure, pulse = tihm_vitals.train(days, np.ones(len(days.day), dtype=bool))
    assert pulse.weights[1] == pressure.weights[1] < -1


@pytest.mark.parametrize("mode", ["nested", "frozen"])
def test_confirmed_alerts_of_made_up_people_are_found_on_others(tmp_path, mode):
    rows = tihm_vitals.evaluate(write(tmp_path, *people()), mode, True, lambda _: None).rows
    value = {(row.measure, row.detector): row.value for row in rows}
    for sign in ("blood pressure", "pulse"):
        assert value[f"sensitivity, {sign}", "ansim"] == value[f"positive predictive value, {sign}", "ansim"] == 1.0
    assert sum(row.detector.startswith("fixed limits") for row in rows) == 8


def test_people_without_any_alert_leave_gaps_and_no_error(tmp_path):
    readings, _ = people(3)
    out = tihm_vitals.evaluate(write(tmp_path, readings, []), "nested", True, lambda _: None)
    assert {row.value for row in out.rows if row.measure.startswith("sensitivity, pulse")} == {None}


def test_recorded_gaps_between_groups_have_intervals():
    if tihm_vitals.missing(DATA):
        pytest.skip(f"data not present: {tihm_vitals.missing(DATA)}")
    rows = tihm_vitals.evaluate(DATA, "frozen", False, lambda _: None).rows
    gaps = [row for row in rows if " gap between " in row.measure]
    assert {row.measure.split(" gap")[0] for row in gaps} == {"sensitivity", "positive predictive value"}
    assert all(row.ci_low is not None and row.ci_high is not None for row in gaps)
