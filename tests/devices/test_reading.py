"""Uploads as devices really post them, and the verdict on each item."""

from __future__ import annotations

import json
import math
import uuid
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from devices.reading import COLUMNS, INDEX, Batch, Event, EventKind, Parsed, UploadError, VerdictBook, parse

NOW = datetime(2026, 5, 1, 3, 0, 10, tzinfo=UTC)
RECEIVED_US = int(NOW.timestamp()) * 1_000_000
IDS = {"upload_id": str(uuid.UUID(int=1)), "boot_id": str(uuid.UUID(int=2))}


def at(seconds: float = 0) -> str:
    return (NOW + timedelta(seconds=seconds)).isoformat()


def upload(received_us: int = RECEIVED_US, **body: object) -> Parsed:
    return parse(json.dumps({**IDS, "sent_at": at(), **body}).encode(), received_us)


def row(seq: object, **said: object) -> dict[str, object]:
    return {"seq": seq, "at": at(-10), **said}


def told(parsed: Parsed) -> list[dict[str, object]]:
    return msgspec.to_builtins(parsed.verdicts.runs())


def value(parsed: Parsed, seq: int, name: str) -> float:
    return float(parsed.batch.values[parsed.batch.seq.tolist().index(seq), INDEX[name]])


def test_every_kind_of_item_is_stored():
    parsed = upload(
        readings=[row(1, heart_rate_bpm=72, worn=True), row(2, event="door", place="front")],
        series=[
            {
                "first_seq": 3,
                "start": at(-9),
                "step_s": 1.0,
                "heart_rate_bpm": [72, 73],
                "spo2_pct": [97, None],
            }
        ],
        beats=[{"first_seq": 5, "start": at(-9), "rr_ms": [812, 805]}],
        waveforms=[
            {
                "seq": 7,
                "start": at(-9),
                "sampling_rate_hz": 50,
                "kind": "ppg",
                "unit": "raw",
                "channels": [[1, 2], [3, 4]],
            }
        ],
    )
    assert told(parsed) == [{"from": 1, "to": 7, "verdict": "stored"}]
    assert parsed.batch.seqs() == [1, 2, 3, 4, 5, 6, 7]
    assert parsed.batch.seq.tolist() == [1, 3, 4]
    assert value(parsed, 1, "worn") == 1
    assert math.isnan(value(parsed, 4, "spo2_pct"))
    assert parsed.batch.events[0].place == "front"
    assert parsed.batch.at_us[2] - parsed.batch.at_us[1] == 1_000_000
    assert parsed.batch.waveforms[0].channels.dtype == np.float32


def test_an_empty_upload_is_a_heartbeat():
    parsed = upload()
    assert told(parsed) == []
    assert parsed.batch.seqs() == []


def test_one_string_among_a_thousand_numbers_costs_one_reading():
    rows = [row(seq, heart_rate_bpm=70) for seq in range(1000)]
    rows[500]["heart_rate_bpm"] = "seventy"
    parsed = upload(readings=rows)
    first, bad, last = told(parsed)
    assert (first["from"], first["to"], last["from"], last["to"]) == (0, 499, 501, 999)
    assert (bad["from"], bad["verdict"], bad["code"], bad["field"]) == (
        500,
        "rejected",
        "wrong_type",
        "heart_rate_bpm",
    )
    assert parsed.batch.seq.size == 999


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ('"97"', "wrong_type"),
        ("true", "wrong_type"),
        ("[97]", "wrong_type"),
        ("{}", "wrong_type"),
        ("1e308", "out_of_range"),
        ("-1", "out_of_range"),
        ("0.97", "out_of_range"),
        ("1e400", "not_finite"),
        ("1" * 30, "out_of_range"),
        ("1" * 350, "not_finite"),
        ("1" * 5000, "not_finite"),
    ],
)
def test_an_unusable_field_is_dropped_alone_and_named(raw, code):
    text = json.dumps({**IDS, "sent_at": at(), "readings": [row(1, heart_rate_bpm=70, spo2_pct="?")]})
    parsed = parse(text.replace('"?"', raw).encode(), RECEIVED_US)
    (verdict,) = told(parsed)
    assert verdict["verdict"] == "stored"
    assert verdict["dropped"] == [{"field": "spo2_pct", "code": code}]
    assert value(parsed, 1, "heart_rate_bpm") == 70
    assert math.isnan(value(parsed, 1, "spo2_pct"))


def test_unknown_vitals_are_named_and_the_known_ones_kept():
    (verdict,) = told(upload(readings=[row(1, heart_rate_bpm=70, aura_hz=7)]))
    assert verdict["dropped"] == [{"field": "aura_hz", "code": "unknown_field"}]


def test_blood_pressure_in_kpa_is_dropped_with_a_hint_and_never_converted():
    parsed = upload(readings=[row(1, systolic_mmhg=17, diastolic_mmhg=10)])
    (verdict,) = told(parsed)
    assert (verdict["verdict"], verdict["code"], verdict["field"]) == (
        "rejected",
        "out_of_range",
        "systolic_mmhg",
    )
    assert "kPa" in verdict["detail"]
    assert [dropped["field"] for dropped in verdict["dropped"]] == ["systolic_mmhg", "diastolic_mmhg"]
    assert parsed.batch.seq.size == 0


def test_a_zero_heart_rate_is_kept_for_detection_to_judge():
    parsed = upload(readings=[row(1, heart_rate_bpm=0, spo2_pct=0, pulse_rate_bpm=70)])
    assert told(parsed) == [{"from": 1, "to": 1, "verdict": "stored"}]
    assert value(parsed, 1, "heart_rate_bpm") == 0


def test_worn_is_yes_or_no():
    parsed = upload(
        readings=[row(1, worn=False), row(2, worn=1), row(3, worn=0.5, steps=1), row(4, worn="yes", steps=1)]
    )
    assert (value(parsed, 1, "worn"), value(parsed, 2, "worn")) == (0, 1)
    assert [verdict.get("dropped") for verdict in told(parsed)] == [
        None,
        [{"field": "worn", "code": "out_of_range"}],
        [{"field": "worn", "code": "wrong_type"}],
    ]


def test_a_reading_with_nothing_in_it_is_rejected_but_a_gap_in_a_series_is_stored():
    series = {"first_seq": 2, "start": at(-9), "step_s": 1, "heart_rate_bpm": [None, 70]}
    parsed = upload(readings=[row(1, heart_rate_bpm=None)], series=[series])
    assert [(v["verdict"], v.get("code")) for v in told(parsed)] == [("rejected", "empty"), ("stored", None)]
    assert parsed.batch.seq.tolist() == [2, 3]


@pytest.mark.parametrize("seq", [None, -1, 1.5, "7", True, 2**53, [1]])
def test_a_reading_without_a_usable_number_is_rejected_without_a_name(seq):
    parsed = upload(readings=[row(seq, heart_rate_bpm=70), row(8, heart_rate_bpm=71)])
    good, bad = told(parsed)
    assert (good["from"], good["verdict"]) == (8, "stored")
    assert (bad["from"], bad["to"], bad["code"], bad["field"]) == (None, None, "seq_invalid", "seq")
    assert "readings[0]" in bad["detail"]
    assert msgspec.json.encode(parsed.verdicts.runs()[1]).startswith(b'{"from":null,"to":null')


def test_an_sos_without_a_usable_number_is_acted_on_all_the_same():
    parsed = upload(readings=[row(None, event="sos", heart_rate_bpm="x")])
    assert parsed.batch.seqs() == []
    (event,) = parsed.conflicting_events
    assert (event.kind, event.numbered) == (EventKind.SOS, False)
    assert told(parsed)[0]["from"] is None


def test_an_sos_is_not_lost_to_spelling():
    parsed = upload(readings=[row("7", event=" SOS "), row(8.0, event="Sos-Cancelled")])
    assert [(event.seq, event.kind) for event in parsed.batch.events] == [
        (7, EventKind.SOS),
        (8, EventKind.SOS_CANCELLED),
    ]


@pytest.mark.parametrize("when", [12, None, True, "yesterday", "2026-05-01T03:00:00", [], {"a": 1}])
def test_an_sos_with_an_unreadable_time_is_dated_by_receipt(when):
    parsed = upload(readings=[{"seq": 1, "at": when, "event": "sos", "heart_rate_bpm": 70}])
    (event,) = parsed.batch.events
    assert (event.at_us, event.clock_wrong, event.late_s, event.time_readable) == (
        RECEIVED_US,
        True,
        None,
        False,
    )
    (verdict,) = told(parsed)
    assert verdict["verdict"] == "stored"
    assert {dropped["field"] for dropped in verdict["dropped"]} == {"at", "heart_rate_bpm"}


@pytest.mark.parametrize("when", ["2026-05-01T03:00:00", "1777604400", 5, None, "2026-13-01T00:00:00Z"])
def test_vitals_with_an_unreadable_or_naive_time_are_rejected(when):
    (verdict,) = told(upload(readings=[{"seq": 1, "at": when, "heart_rate_bpm": 70}]))
    assert (verdict["code"], verdict["field"]) == ("time_not_readable", "at")


def test_a_leap_second_and_a_korean_offset_are_readable():
    parsed = upload(
        readings=[
            {"seq": 1, "at": "2026-05-01T11:59:60+09:00", "heart_rate_bpm": 70},
            {"seq": 2, "at": "2026-05-01T12:00:00+09:00", "heart_rate_bpm": 70},
        ]
    )
    assert told(parsed) == [{"from": 1, "to": 2, "verdict": "stored"}]
    assert parsed.batch.at_us[1] - parsed.batch.at_us[0] == 1


def test_a_skew_beyond_five_seconds_corrects_times_and_keeps_both():
    ahead = upload(RECEIVED_US - 4500 * 1_000_000, readings=[row(1, heart_rate_bpm=70)])
    assert ahead.clock_skew_s == -4500
    assert ahead.batch.at_us[0] - ahead.batch.device_at_us[0] == -4500 * 1_000_000
    near = upload(RECEIVED_US + 5_000_000, readings=[row(1, heart_rate_bpm=70)])
    assert near.clock_skew_s == 5
    assert near.batch.at_us[0] == near.batch.device_at_us[0]


def test_without_a_readable_sent_at_the_skew_is_unknown_and_nothing_is_shifted():
    parsed = upload(sent_at="now", readings=[row(1, heart_rate_bpm=70)])
    assert math.isnan(parsed.clock_skew_s)
    assert parsed.sent_at_us is None
    assert parsed.batch.at_us[0] == parsed.batch.device_at_us[0]


@pytest.mark.parametrize(
    ("seconds", "stored"),
    [(-30 * 86_400, True), (-30 * 86_400 - 1, False), (300, True), (301, False)],
)
def test_vitals_are_refused_outside_thirty_days_and_five_minutes(seconds, stored):
    (verdict,) = told(upload(readings=[{"seq": 1, "at": at(seconds), "heart_rate_bpm": 70}]))
    assert (verdict["verdict"] == "stored") is stored
    assert stored or verdict["code"] == "time_out_of_range"


def test_sos_counts_although_the_clock_says_1970():
    sos = {"seq": 1, "at": "1970-01-01T00:01:00Z", "event": "sos"}
    told_1970 = upload(sent_at="1970-01-01T00:01:30Z", readings=[sos]).batch.events[0]
    assert (told_1970.late_s, told_1970.clock_wrong) == (30, False)
    unsynchronised = upload(readings=[sos]).batch.events[0]
    assert (unsynchronised.at_us, unsynchronised.clock_wrong, unsynchronised.late_s) == (
        RECEIVED_US,
        True,
        None,
    )


def test_a_late_sos_says_how_late_it_is_and_none_lies_in_the_future():
    late, early = upload(
        readings=[{"seq": 1, "at": at(-7200), "event": "sos"}, {"seq": 2, "at": at(60), "event": "sos"}]
    ).batch.events
    assert late.late_s == 7200
    assert (early.at_us, early.late_s) == (RECEIVED_US, 0)


def test_an_unknown_event_is_rejected_and_its_vitals_are_kept():
    only, both = told(upload(readings=[row(1, event="dance"), row(2, event="dance", heart_rate_bpm=70)]))
    assert (only["code"], only["field"]) == ("unknown_event", "event")
    assert both["verdict"] == "stored"
    assert both["dropped"] == [{"field": "event", "code": "unknown_event"}]


def test_a_number_used_twice_is_a_duplicate_or_a_conflict_and_the_sos_in_it_still_acts():
    parsed = upload(
        readings=[
            row(1, heart_rate_bpm=70),
            row(1, heart_rate_bpm=70),
            row(1, event="sos"),
            row(2, event="sos"),
        ]
    )
    assert [(v["from"], v["to"], v["verdict"], v.get("code")) for v in told(parsed)] == [
        (1, 2, "stored", None),
        (1, 1, "duplicate", None),
        (1, 1, "rejected", "seq_conflict"),
    ]
    assert [event.seq for event in parsed.conflicting_events] == [1]
    assert parsed.batch.seqs() == [1, 2]


def test_numbers_collide_between_kinds_of_items_too():
    parsed = upload(
        readings=[row(5, heart_rate_bpm=70)],
        beats=[{"first_seq": 4, "start": at(-9), "rr_ms": [800, 801, 802]}],
    )
    assert [(v["from"], v["to"], v["verdict"]) for v in told(parsed)] == [
        (4, 6, "stored"),
        (5, 5, "rejected"),
    ]
    assert parsed.batch.seqs() == [4, 5, 6]
    assert [(piece.first_seq, piece.rr_ms.tolist()) for piece in parsed.batch.beats] == [
        (4, [800]),
        (6, [802]),
    ]


def test_a_bad_cell_in_a_series_costs_that_cell_and_a_short_column_is_padded():
    series = {
        "first_seq": 10,
        "start": at(-9),
        "step_s": 1,
        "heart_rate_bpm": [70, 999, "x", 71],
        "spo2_pct": [97, 97],
        "steps": "many",
        "aura": [1, 2, 3, 4, 5],
    }
    parsed = upload(series=[series])
    codes = [(v["from"], v["verdict"], v.get("field")) for v in told(parsed)]
    assert codes == [
        (10, "stored", None),
        (11, "stored", None),
        (12, "rejected", "spo2_pct"),
        (13, "stored", None),
        (14, "rejected", "heart_rate_bpm"),
    ]
    assert parsed.batch.seq.tolist() == [10, 11, 13]


@pytest.mark.parametrize("step", [0, -1, None, "1", 1e300, True])
def test_a_series_without_a_usable_step_is_rejected_whole(step):
    (verdict,) = told(
        upload(series=[{"first_seq": 1, "start": at(-9), "step_s": step, "heart_rate_bpm": [1, 2, 3]}])
    )
    assert (verdict["from"], verdict["to"], verdict["field"]) == (1, 3, "step_s")


def test_an_implausible_interval_costs_one_beat_and_the_later_ones_keep_their_numbers():
    parsed = upload(beats=[{"first_seq": 1, "start": at(-9), "rr_ms": [800, 5, None, "x", 900]}])
    assert [(v["from"], v["to"], v["verdict"]) for v in told(parsed)] == [
        (1, 1, "stored"),
        (2, 2, "rejected"),
        (3, 3, "stored"),
        (4, 4, "rejected"),
        (5, 5, "stored"),
    ]
    assert parsed.batch.seqs() == [1, 3, 5]
    assert parsed.batch.beats[1].start_us - parsed.batch.beats[0].start_us == 800_000


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"kind": "eeg"}, "unknown_kind"),
        ({"unit": "mV"}, "unknown_unit"),
        ({"sampling_rate_hz": 0}, "out_of_range"),
        ({"channels": []}, "empty"),
        ({"channels": [1, 2]}, "wrong_type"),
        ({"start": "?"}, "time_not_readable"),
    ],
)
def test_an_unusable_waveform_is_rejected_with_its_reason(change, code):
    wave = {"seq": 1, "start": at(-9), "sampling_rate_hz": 50, "kind": "ecg", "unit": "uV", "channels": [[1]]}
    (verdict,) = told(upload(waveforms=[wave | change]))
    assert (verdict["from"], verdict["verdict"], verdict["code"]) == (1, "rejected", code)


def test_garbage_instead_of_items_gets_a_verdict_each():
    parsed = upload(readings=[1, None, []], series=["x", {}], beats=[2, {"first_seq": 3}], waveforms=[[], {}])
    assert len(parsed.verdicts._nameless) == 3 + 2 + 1 + 2
    assert [(v["from"], v["code"]) for v in told(parsed) if v["from"] is not None] == [(3, "wrong_type")]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "not_json"),
        (b'{"upload_id": "', 400, "not_json"),
        (b"\xff\xfe{}", 400, "not_json"),
        (b'{"upload_id": NaN}', 400, "not_json"),
        (b"[" * 100_000, 400, "not_json"),
        (b'{"readings": [{"seq": 1, "heart_rate_bpm": Infinity}]}', 400, "not_json"),
        (b"[]", 422, "not_an_upload"),
        (b"7", 422, "not_an_upload"),
        (b"{}", 422, "upload_id_invalid"),
        (b" " * (2**20 + 1), 413, "too_large"),
    ],
)
def test_a_whole_request_fails_with_a_stable_code(body, status, code):
    with pytest.raises(UploadError) as caught:
        parse(body, RECEIVED_US)
    assert (caught.value.status, caught.value.code) == (status, code)


@pytest.mark.parametrize(
    ("change", "status", "code", "field"),
    [
        ({"upload_id": "7"}, 422, "upload_id_invalid", "upload_id"),
        ({"boot_id": None}, 422, "boot_id_invalid", "boot_id"),
        ({"readings": {}}, 422, "not_an_upload", "readings"),
        ({"series": 5}, 422, "not_an_upload", "series"),
        ({"readings": [1] * 10_001}, 413, "too_large", None),
        (
            {"series": [{"first_seq": 1, "start": at(), "step_s": 1, "heart_rate_bpm": [70] * 10_001}]},
            413,
            "too_large",
            None,
        ),
    ],
)
def test_a_wrong_envelope_fails_naming_the_field(change, status, code, field):
    with pytest.raises(UploadError) as caught:
        upload(**change)
    assert (caught.value.status, caught.value.code, caught.value.field) == (status, code, field)


def test_strings_that_no_database_takes_are_made_safe():
    body = json.dumps({**IDS, "sent_at": at(), "readings": [row(1, event="door", place="P" * 500, Z=1)]})
    parsed = parse(body.replace("PPP", "\\ud800", 1).replace('"Z"', '"\\udfff"').encode(), RECEIVED_US)
    assert len(parsed.batch.events[0].place.encode()) <= 80
    msgspec.json.encode(parsed.verdicts.runs())
    assert Batch.from_bytes(parsed.batch.to_bytes()).events == parsed.batch.events


def test_a_small_upload_cannot_ask_for_a_large_answer_or_memory():
    series = {"first_seq": 1, "start": at(-9), "step_s": 1e-3, "heart_rate_bpm": [70] * 5000}
    parsed = upload(series=[series | {f"f{i}": 1 for i in range(20_000)}])
    (verdict,) = told(parsed)
    assert len(verdict["dropped"]) == 17
    assert verdict["dropped"][-1] == {"field": "*", "code": "unknown_field"}
    wave = {"seq": 1, "start": at(-9), "sampling_rate_hz": 50, "kind": "ecg", "unit": "uV"}
    (verdict,) = told(upload(waveforms=[wave | {"channels": [[1] * 100_000] + [[]] * 100_000}]))
    assert (verdict["code"], verdict["field"]) == ("out_of_range", "channels")


def test_the_book_takes_what_the_store_knows():
    book = VerdictBook()
    book.accept(np.arange(1, 11))
    book.drop(3, "spo2_pct", "out_of_range")
    book.duplicate(5)
    book.duplicate(6)
    kept = book.copy()
    book.conflict(8)
    assert len(kept.runs()) < len(book.runs())
    book.reject(10, "time_out_of_range", "at", "too old")
    assert [(v.from_, v.to, v.verdict) for v in book.runs()] == [
        (1, 2, "stored"),
        (3, 3, "stored"),
        (4, 4, "stored"),
        (5, 6, "duplicate"),
        (7, 7, "stored"),
        (8, 8, "rejected"),
        (9, 9, "stored"),
        (10, 10, "rejected"),
    ]


def test_contents_ignore_the_corrected_time():
    first = upload(readings=[row(1, heart_rate_bpm=70), row(2, event="sos")])
    again = upload(RECEIVED_US + 60_000_000, readings=[row(1, heart_rate_bpm=70), row(2, event="sos")])
    other = upload(readings=[row(1, heart_rate_bpm=71), row(2, event="fall")])
    assert first.batch.contents() == again.batch.contents()
    assert all(other.batch.contents()[seq] != said for seq, said in first.batch.contents().items())


def test_without_leaves_items_out_and_concat_puts_batches_together():
    parsed = upload(
        readings=[row(1, heart_rate_bpm=70), row(2, event="sos")],
        beats=[{"first_seq": 3, "start": at(-9), "rr_ms": [800, 801, 802]}],
    )
    less = parsed.batch.without({1, 4})
    assert less.seqs() == [2, 3, 5]
    assert Batch.concat([less, parsed.batch.without({2, 3, 5})]).seqs() == [1, 2, 3, 4, 5]
    assert Batch.concat([]).seqs() == []


def test_sixty_instants_of_six_vitals_take_few_bytes():
    rng = np.random.default_rng(1)
    columns = {
        name: (base + rng.integers(-2, 3, 60)).tolist()
        for name, base in [
            ("heart_rate_bpm", 70),
            ("spo2_pct", 96),
            ("respiratory_rate_bpm", 15),
            ("skin_temperature_c", 33),
            ("steps", 4),
            ("battery_pct", 80),
        ]
    }
    parsed = upload(series=[{"first_seq": 1, "start": at(-60), "step_s": 1, **columns}])
    assert len(parsed.batch.to_bytes()) / 60 < 5


def test_bytes_of_another_version_are_refused():
    with pytest.raises(ValueError, match="version"):
        Batch.from_bytes(b"\x09rest")
    with pytest.raises(ValueError, match="packed batch"):
        Batch.from_bytes(b"\x01rest")


def test_every_column_has_a_unit_in_its_name_or_is_a_count():
    assert len(INDEX) == len(COLUMNS) == 13
    assert all(column.low < column.high for column in COLUMNS)


def test_an_event_travels_with_every_field():
    event = Event(seq=1, at_us=2, device_at_us=3, kind=EventKind.FALL, place="kitchen", late_s=4.5)
    batch = Batch(events=[event])
    assert Batch.from_bytes(batch.to_bytes()).events == [event]
