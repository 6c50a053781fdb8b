import argparse
import json
import lzma
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service import cli
from service.tools import recordings, replay, stage

DATA = Path(__file__).parents[2] / "../shared/data"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def own() -> Iterator[stage.Stage]:
    with stage.own_service(extra=replay.REPLAYED) as running:
        yield running


@pytest.fixture
def played(own: stage.Stage, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    def play(path: Path, *more: str) -> dict[str, Any]:
        words = ["replay", str(path), "--url", own.url, "--service-key", own.service_key, "--json", *more]
        assert cli.main(words) == 0
        told = json.loads(capsys.readouterr().out)
        return {one["id"]: one for one in told["patients"]}

    return play


def three_people(path: Path) -> Path:
    """Six minutes of two people well and one whose SpO2 drops after two minutes."""
    rows = ["Subject,T_S,SPO2,hr,remark"]
    for t in range(360):
        rows.append(f"calm,{t},97,{70 + t % 3},x")
        rows.append(f"low,{t},{97 if t < 120 else 82},{75 + t % 3},")
        rows.append(f"gaps,{t},{'' if t % 2 else 96},nan,")
    path.write_bytes(lzma.compress(("\ufeff" + "\n".join(rows)).encode()))
    return path


def test_each_instant_gets_a_verdict_and_the_one_who_desaturates_a_high_incident(played, tmp_path: Path) -> None:
    found = played(three_people(tmp_path / "made.whatever"), "--speed", "360")
    assert set(found) == {"calm", "low", "gaps"}
    for one in found.values():
        assert (one["uploads"], one["stored"], one["duplicate"], one["rejected"]) == (6, 360, 0, 0)
    assert found["calm"]["incidents"] == found["gaps"]["incidents"] == []
    (case,) = found["low"]["incidents"]
    assert (case["priority"], case["reason"]) == ("high", "spo2_low")
    assert 120 < case["opened_recorded_s"] <= 300
    assert 0 < case["latency_s"] < 30
    assert [c["code"] for c in found["low"]["alarm_conditions"]] == ["spo2_low"]


def test_results_do_not_depend_on_the_speed(played, tmp_path: Path) -> None:
    path = three_people(tmp_path / "made.csv")
    slow, fast = (played(path, "--speed", speed) for speed in ("90", "max"))
    assert [c["opened_recorded_s"] for c in slow["low"]["incidents"]] == [
        c["opened_recorded_s"] for c in fast["low"]["incidents"]
    ]
    assert slow["low"]["alarm_conditions"] == fast["low"]["alarm_conditions"]


def test_a_fast_heart_hours_ago_still_opens_a_medium_condition(played, tmp_path: Path) -> None:
    rr_s = np.concatenate([np.full(3600, 0.5), np.full(4 * 3600, 0.875)]).astype(np.float32)
    np.savez(tmp_path / "beats.npz", one_rr=rr_s, one_rhythm=np.full(rr_s.size, b"N"))
    (one,) = played(tmp_path / "beats.npz", "--speed", "0").values()
    assert one["id"] == "one"
    assert one["stored"] == rr_s.size + 240
    assert [c["code"] for c in one["alarm_conditions"]] == ["heart_rate_high"]
    assert one["incidents"][0]["opened_recorded_s"] <= 1800


def test_the_last_instant_of_every_recording_is_now_and_spacing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("patient_id;t_s;pulse\n1;5;60\n1;0;61\n1;65;62\n")
    (one,) = recordings.read(tmp_path / "a.csv")
    uploads = list(one.uploads(NOW))
    starts = [series["start"] for upload in uploads for series in upload.body["series"]]
    assert uploads[-1].at == NOW
    assert datetime.fromisoformat(starts[0]) == NOW - timedelta(seconds=65)
    assert (one.duration_s, one.instants) == (65, 3)


def test_rows_of_the_same_time_are_instants_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("t_s,hr\n0,60\n0,61\n1,62\n")
    (one,) = recordings.read(tmp_path / "a.csv")
    body = next(one.uploads(NOW)).body
    assert sum(len(series["heart_rate_bpm"]) for series in body["series"]) == 3


def test_a_minute_of_beats_has_the_rate_of_its_plausible_ones() -> None:
    rr_s = np.array([0.5] * 120 + [40.0, 1.0, 1.0] + [0.75] * 24)
    times, rates = recordings.minute_rates(rr_s, np.cumsum(rr_s))
    assert times.tolist() == [60.0, 120.0]
    assert rates[0] == pytest.approx(120, abs=1)
    assert np.isnan(rates[1])


@pytest.mark.parametrize(
    ("name", "data", "found"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"name,lat\nx,1\n", "no column of times"),
        ("a.csv", b"subject,t_s,colour\n1,0,red\n", "no vital sign"),
        ("a.csv", b"subject,t_s,hr\n1,soon,60\n", "where a time was expected"),
        ("a.csv", b"subject,t_s,hr\n1,0,fast\n", "'fast'"),
        ("a.csv", b"subject,t_s,hr\n1,0\n", "line 2"),
        ("a.csv", b"subject,t_s,hr\n", "no instants"),
        ("a.bin", bytes(range(128, 256)), "neither text nor"),
        ("a.csv.xz", b"\xfd7zXZ\x00broken", "damaged"),
        ("a.npz", b"PK\x03\x04broken", "does not open"),
    ],
)
def test_a_file_that_is_no_recording_is_refused_with_what_was_expected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, data: bytes, found: str
) -> None:
    (tmp_path / name).write_bytes(data)
    assert cli.main(["replay", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert found in said
    assert "expected a CSV" in said


def test_a_file_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["replay", str(tmp_path / "none.csv")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_arrays_that_are_no_beats_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.full(10, 72.0))
    with pytest.raises(recordings.NotARecording, match="no RR intervals"):
        recordings.read(tmp_path / "a.npz")


def test_a_url_needs_its_key(tmp_path: Path) -> None:
    assert cli.main(["replay", str(three_people(tmp_path / "a.csv")), "--url", "http://127.0.0.1:9"]) == 2


def test_a_service_that_is_not_there_ends_with_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{stage.free_port()}"
    path = three_people(tmp_path / "a.csv")
    assert cli.main(["replay", str(path), "--url", url, "--service-key", "x"]) == 3
    assert "is Ansim running there" in capsys.readouterr().err


def test_speed_is_a_number_or_max() -> None:
    parser = argparse.ArgumentParser()
    replay.add_arguments(parser)
    assert parser.parse_args(["f", "--speed", "max"]).speed == 0
    with pytest.raises(SystemExit):
        parser.parse_args(["f", "--speed", "-1"])


def test_the_intensive_care_recordings_give_their_known_incidents(capsys: pytest.CaptureFixture[str]) -> None:
    path = DATA / "bidmc_numerics.csv.xz"
    if not path.exists():
        pytest.skip(f"data not present: {path.name}")
    assert cli.main(["replay", str(path), "--speed", "60", "--json"]) == 0
    found = {one["id"]: one for one in json.loads(capsys.readouterr().out)["patients"]}
    assert len(found) == 27
    assert sum(one["stored"] + one["duplicate"] + one["rejected"] for one in found.values()) == 12_987
    (case,) = found["49"]["incidents"]
    assert case["priority"] == "high"
    assert case["opened_recorded_s"] <= 180
    assert found["21"]["incidents"]
    assert found["25"]["incidents"]
    assert {c["kind"] for c in found["13"]["alarm_conditions"]} == {"technical"}
    assert found["13"]["incidents"] == []


def test_a_day_of_beats_is_read_as_beats_and_minutes() -> None:
    path = DATA / "rr24h_nsr2_chf2.npz"
    if not path.exists():
        pytest.skip(f"data not present: {path.name}")
    found = recordings.read(path)
    assert len(found) == 42
    one = found[0]
    seqs = 0
    for upload in one.uploads(NOW):
        assert upload.at <= NOW
        for series in upload.body.get("series", []):
            assert series["first_seq"] == seqs + 1
            seqs += len(series["heart_rate_bpm"])
        for piece in upload.body.get("beats", []):
            assert piece["first_seq"] == seqs + 1
            seqs += len(piece["rr_ms"])
    assert seqs == one.instants
