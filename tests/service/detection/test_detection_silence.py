from __future__ import annotations

from datetime import timedelta

import pytest
from detection_rows import at

from service.detection import next_check_at, silence_condition

HOUR = 3600.0


def test_a_device_that_reported_lately_is_not_silent():
    assert silence_condition(at(0), at(1000), at(1000 + HOUR - 1)) is None


def test_a_silent_device_is_reported_at_its_limit_with_its_age():
    found = silence_condition(at(0), at(1000), at(1000 + HOUR))
    assert (found.code, found.kind, found.priority) == ("device_silent", "technical", "medium")
    assert found.params == {"age_s": 3600, "limit_s": HOUR}
    assert found.started_at == at(1000)


def test_a_device_that_never_reported_is_missed_from_its_enrolment():
    found = silence_condition(at(0), None, at(HOUR))
    assert found.code == "device_never_reported"
    assert silence_condition(at(0), None, at(HOUR - 1)) is None


def test_each_device_may_have_its_own_limit():
    assert silence_condition(at(0), at(0), at(700), limit_s=600.0).params["limit_s"] == 600.0
    assert silence_condition(at(0), at(0), at(700), limit_s=900.0) is None


def test_the_next_check_is_when_the_limit_runs_out():
    assert next_check_at(at(0), at(50), at(60)) == at(50) + timedelta(hours=1)
    assert next_check_at(at(0), None, at(60)) == at(0) + timedelta(hours=1)


def test_our_own_clock_set_back_never_waits_longer_than_one_limit():
    assert next_check_at(at(0), at(5000), at(1400)) == at(1400) + timedelta(hours=1)
    assert silence_condition(at(0), at(5000), at(1400)) is None


def test_a_limit_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="limit_s must be positive, was 0"):
        next_check_at(at(0), None, at(0), limit_s=0)
