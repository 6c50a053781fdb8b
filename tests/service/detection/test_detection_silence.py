from __future__ import annotations

from datetime import timedelta

import pytest
from detection_rows import at

from service.detection import next_check_at, silence_condition
from service.detection.silence import Cause, Facts, cause, silent_signals

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


def facts(**more) -> Facts:
    given = {"last_received_at": at(0), "anybody_received_at": at(3 * HOUR), "others": 50, **more}
    return Facts(**given)


def why(**more) -> str:
    return cause(facts(**more), at(3 * HOUR)).cause


def test_silence_that_nothing_explains_is_called_unknown():
    assert why() == Cause.UNKNOWN
    assert cause(Facts(last_received_at=None), at(0)).cause == Cause.UNKNOWN


def test_when_nobody_at_all_was_heard_the_fault_is_ours():
    assert why(anybody_received_at=at(3 * HOUR - 300), battery_pct=1.0) == Cause.OUR_OUTAGE
    assert why(anybody_received_at=at(3 * HOUR - 299)) == Cause.UNKNOWN
    assert why(anybody_received_at=None) == Cause.OUR_OUTAGE
    assert why(anybody_received_at=None, others=4) == Cause.UNKNOWN


def test_a_silent_gateway_or_area_is_the_network():
    assert why(gateway_received_at=at(HOUR)) == Cause.NETWORK
    found = cause(facts(area_silent=True, battery_pct=1.0), at(3 * HOUR))
    assert (found.cause, found.evidence) == (Cause.NETWORK, {"area": True})


def test_a_band_whose_gateway_lives_is_out_of_range():
    found = cause(facts(gateway_received_at=at(3 * HOUR - 60)), at(3 * HOUR))
    assert (found.cause, found.evidence) == (Cause.OUT_OF_RANGE, {"gateway_age_s": 60})


def test_a_charge_nearly_gone_or_running_out_is_flat():
    assert why(battery_pct=3.0, gateway_received_at=at(3 * HOUR)) == Cause.FLAT
    assert why(battery_pct=3.1) == Cause.UNKNOWN
    # 12 - 3 per cent at 6 an hour last an hour and a half: the limit and half an hour more.
    assert why(battery_pct=12.0, battery_at=at(0), battery_per_hour=6.0) == Cause.FLAT
    assert why(battery_pct=12.1, battery_at=at(0), battery_per_hour=6.0) == Cause.UNKNOWN
    assert why(battery_pct=float("nan"), battery_at=at(0), battery_per_hour=float("nan")) == Cause.UNKNOWN


def test_a_band_last_seen_on_its_charger_or_taken_off_says_so():
    assert why(charging_at=at(-HOUR), worn=False, battery_pct=2.0) == Cause.CHARGING
    assert why(charging_at=at(-HOUR - 1)) == Cause.UNKNOWN
    assert why(worn=False, gateway_received_at=at(3 * HOUR)) == Cause.NOT_WORN


def test_each_signal_has_its_own_limit_while_its_device_reports():
    last = {"heart_rate_bpm": at(0), "steps": at(0), "systolic_mmhg": at(-90 * HOUR), "battery_pct": at(HOUR)}
    assert silent_signals(last, at(1800), True) == {"heart_rate_bpm": 1800}
    assert silent_signals(last, at(1799), True) == {}
    assert silent_signals(last, at(1800), False) == {}
    assert silent_signals(last, at(26 * HOUR), None) == {"heart_rate_bpm": 93600, "steps": 93600}


def test_a_cause_needs_a_limit():
    with pytest.raises(ValueError, match="limit_s must be positive"):
        cause(facts(), at(0), limit_s=0)
