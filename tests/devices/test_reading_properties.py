"""Whatever is posted, every item has its verdict; whatever is kept, its bytes give it back."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from devices.codec import pack_floats, pack_ints, unpack_floats, unpack_ints
from devices.reading import COLUMNS, Batch, Beats, UploadError, Waveform, parse

NOW = datetime(2026, 5, 1, 3, 0, 10, tzinfo=UTC)
RECEIVED_US = int(NOW.timestamp()) * 1_000_000
IDS = {"upload_id": str(uuid.UUID(int=1)), "boot_id": str(uuid.UUID(int=2)), "sent_at": NOW.isoformat()}

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)
garbage = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
)
times = (
    st.sampled_from([NOW.isoformat(), "1970-01-01T00:00:00Z", "2026-05-01T03:00:00", "", None, 5]) | garbage
)
cells = garbage | st.floats(-10, 350) | st.integers(0, 120)
names = st.sampled_from([column.name for column in COLUMNS])
events = st.sampled_from(["sos", "fall", "SOS", "door", "nonsense"]) | garbage
row_fields = st.fixed_dictionaries(
    {"at": times}, optional={"event": events, "place": garbage, "heart_rate_bpm": cells, "odd": garbage}
) | st.dictionaries(names, cells, max_size=4)
series_fields = st.builds(
    lambda columns, rest: {**columns, **rest},
    st.dictionaries(names, st.lists(cells, min_size=1, max_size=4) | garbage, max_size=3),
    st.fixed_dictionaries({"start": times, "step_s": st.sampled_from([1, 0.5, 60]) | garbage}),
)


def covered(verdicts) -> list[int]:
    return [seq for v in verdicts if v.from_ is not None for seq in range(v.from_, v.to + 1)]


@settings(max_examples=60, deadline=None)
@given(garbage | st.dictionaries(st.sampled_from(["readings", "series", "beats", "waveforms"]), garbage))
def test_any_json_is_refused_whole_or_judged(body):
    if isinstance(body, dict):
        body = {**IDS, **body}
    try:
        parsed = parse(json.dumps(body).encode(), RECEIVED_US)
    except UploadError as refused:
        assert refused.status in (400, 413, 422)
    else:
        parsed.verdicts.runs()


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_are_refused_whole(body):
    try:
        parse(body, RECEIVED_US)
    except UploadError as refused:
        assert refused.code
    else:
        raise AssertionError("an upload without ids was accepted")


@settings(max_examples=80, deadline=None)
@given(st.lists(row_fields, max_size=6), st.lists(st.integers(0, 4), max_size=6))
def test_every_posted_row_has_exactly_one_verdict(rows, numbers):
    posted = [{**fields, "seq": seq} for fields, seq in zip(rows, numbers, strict=False)]
    parsed = parse(json.dumps({**IDS, "readings": posted}).encode(), RECEIVED_US)
    verdicts = parsed.verdicts.runs()
    assert sorted(covered(verdicts)) == sorted(item["seq"] for item in posted)
    stored = covered([v for v in verdicts if v.verdict == "stored"])
    assert stored == parsed.batch.seqs()
    assert Batch.from_bytes(parsed.batch.to_bytes()).contents() == parsed.batch.contents()


@settings(max_examples=60, deadline=None)
@given(st.lists(series_fields, max_size=3))
def test_every_instant_of_a_series_has_exactly_one_verdict(series):
    posted, expected, first = [], [], 1
    for fields in series:
        n = max(
            [1, *(len(v) for k, v in fields.items() if k not in ("start", "step_s") and isinstance(v, list))]
        )
        posted.append({**fields, "first_seq": first})
        expected += range(first, first + n)
        first += n
    parsed = parse(json.dumps({**IDS, "series": posted}).encode(), RECEIVED_US)
    assert sorted(covered(parsed.verdicts.runs())) == expected


@settings(max_examples=50, deadline=None)
@given(st.lists(cells, min_size=1, max_size=8), times)
def test_every_beat_has_exactly_one_verdict(rr_ms, start):
    body = {**IDS, "beats": [{"first_seq": 5, "start": start, "rr_ms": rr_ms}]}
    parsed = parse(json.dumps(body).encode(), RECEIVED_US)
    assert covered(parsed.verdicts.runs()) == list(range(5, 5 + len(rr_ms)))


@settings(max_examples=50, deadline=None)
@given(st.lists(row_fields, min_size=1, max_size=4))
def test_an_sos_is_never_lost_whatever_stands_beside_it(rows):
    posted = [{**fields, "seq": seq, "event": "sos"} for seq, fields in enumerate(rows)]
    parsed = parse(json.dumps({**IDS, "readings": posted}).encode(), RECEIVED_US)
    assert len(parsed.batch.events) + len(parsed.conflicting_events) == len(rows)
    assert all(event.at_us <= RECEIVED_US for event in parsed.batch.events)


@settings(max_examples=80, deadline=None)
@given(arrays(np.int64, st.integers(0, 20), elements=st.integers(-(2**63), 2**63 - 1)))
def test_integers_come_back_exactly(values):
    assert np.array_equal(unpack_ints(pack_ints(values), values.size), values)


decimals = st.integers(-3000, 3000).map(lambda n: n / 10) | st.just(float("nan")) | st.floats(width=32)


@settings(max_examples=80, deadline=None)
@given(arrays(np.float64, st.integers(0, 20), elements=decimals | st.floats()), st.booleans())
def test_floats_come_back_to_the_bit(values, small):
    with np.errstate(over="ignore"):
        values = values.astype(np.float32) if small else values
    back = unpack_floats(pack_floats(values), values.size, values.dtype)
    assert back.dtype == values.dtype
    assert np.array_equal(back, values, equal_nan=True)
    assert np.array_equal(np.signbit(back)[~np.isnan(values)], np.signbit(values)[~np.isnan(values)])


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float64, st.tuples(st.integers(0, 5), st.just(len(COLUMNS))), elements=decimals),
    arrays(np.float64, st.integers(1, 5), elements=st.floats(200, 2000)),
    arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 9)), elements=st.floats(-4, 4, width=32)),
)
def test_a_batch_comes_back_exactly(values, rr_ms, channels):
    n = values.shape[0]
    batch = Batch(
        seq=np.arange(n, dtype=np.int64) * 3,
        at_us=np.arange(n, dtype=np.int64) + 7,
        device_at_us=np.arange(n, dtype=np.int64) * 2,
        values=values,
        beats=[Beats(100, 1, 2, rr_ms)],
        waveforms=[Waveform(200, 1, 2, 50.0, "ppg", "raw", channels)],
    )
    back = Batch.from_bytes(batch.to_bytes())
    assert back.contents() == batch.contents()
    assert np.array_equal(back.at_us, batch.at_us)
    assert back.waveforms[0].sampling_rate_hz == 50.0
    assert back.beats[0].start_us == 1
