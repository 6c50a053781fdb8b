from __future__ import annotations

from detection_rows import T0, at, batch
from hypothesis import given
from hypothesis import strategies as st

from devices.reading import Event, EventKind
from service.detection import event_conditions


def event(kind=EventKind.SOS, at_us=T0 * 1_000_000, **changed) -> Event:
    return Event(**{"seq": 7, "at_us": at_us, "device_at_us": at_us, "kind": kind, "late_s": 0.0} | changed)


def test_sos_is_high_and_grave():
    (found,) = event_conditions(batch([], events=[event()]), at(2))
    assert (found.code, found.priority, found.grave, found.kind) == ("sos", "high", True, "physiological")
    assert found.started_at == at(0)
    assert found.params == {"clock_wrong": False}


def test_sos_rings_although_the_clock_says_1970():
    (found,) = event_conditions(batch([], events=[event(at_us=0, late_s=None, clock_wrong=True)]), at(5))
    assert found.started_at == at(5)
    assert found.params == {"clock_wrong": True}


def test_a_late_sos_says_how_late_it_is():
    (found,) = event_conditions(batch([], events=[event(late_s=7200.0)]), at(7200))
    assert found.params["late_s"] == 7200
    assert found.priority == "high"


def test_a_taken_back_sos_still_rings():
    events = [event(), event(EventKind.SOS_CANCELLED, seq=8)]
    assert [c.code for c in event_conditions(batch([], events=events), at(9))] == ["sos"]


def test_a_fall_is_high_and_asks_first():
    (found,) = event_conditions(batch([], events=[event(EventKind.FALL)]), at(1))
    assert (found.code, found.priority, found.grave, found.params) == ("fall", "high", False, {})


def test_other_events_raise_nothing():
    others = [event(k) for k in EventKind if k not in (EventKind.SOS, EventKind.FALL)]
    assert event_conditions(batch([], events=others), at(1)) == []


@given(
    st.integers(-(2**62), 2**62),
    st.one_of(st.none(), st.floats()),
    st.booleans(),
)
def test_no_odd_time_stops_an_sos(at_us, late_s, clock_wrong):
    (found,) = event_conditions(batch([], events=[event(at_us=at_us, late_s=late_s, clock_wrong=clock_wrong)]), at(0))
    assert found.grave
    assert found.started_at <= found.detected_at
