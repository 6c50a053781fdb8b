"""What is posted twice, half wrong, or under numbers that were used before."""

from __future__ import annotations

import threading
from uuid import uuid4

import msgspec
import pytest
from journey_marks import both_engines
from journey_stage import Stage
from sqlalchemy import func, select

from service.store.tables import Receipt, Upload, table

_UPLOAD, _RECEIPT = table(Upload), table(Receipt)


def count(stage: Stage, what: object) -> int:
    return int(stage.rows(select(func.count()).select_from(what))[0][0])


@both_engines
def test_upload_posted_by_eight_threads_is_kept_once_and_answered_alike(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    daughter.phone.answers("3")
    n = 100 if stage.database.is_sqlite else 25
    uploads = [home.band.upload(series=[home.band.series(10, ago_s=10 * (n - i))]) for i in range(n - 1)]
    uploads.append(home.band.upload(readings=[home.band.event("sos")]))
    bodies = [msgspec.json.encode(upload) for upload in uploads]
    answers: list[list[tuple[int, bytes, bool]]] = [[] for _ in bodies]
    start = threading.Barrier(8)

    def post() -> None:
        start.wait()
        for body, found in zip(bodies, answers, strict=True):
            got = home.band.wearable.send(body)
            found.append((got.status_code, got.content, got.headers.get("Idempotent-Replayed") == "true"))

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    for found in answers:
        assert {status for status, _, _ in found} == {200}
        assert len({body for _, body, _ in found}) == 1, "the same stored body for all"
        assert [replayed for _, _, replayed in found].count(False) == 1
    assert count(stage, _UPLOAD) == count(stage, _RECEIPT) == n
    stage.finish_calls()
    assert len(stage.incidents(home)) == 1
    assert daughter.phone.rang == 1


def test_same_readings_in_another_upload_are_duplicates_and_ring_nobody_again(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    daughter.phone.answers("3")
    sos = home.band.event("sos")
    assert home.band.post(readings=[sos])["verdicts"][0]["verdict"] == "stored"
    stage.finish_calls()
    again = home.band.post(readings=[sos])
    assert again["verdicts"] == [{"from": sos["seq"], "to": sos["seq"], "verdict": "duplicate"}]
    stage.advance(60)
    assert (len(stage.incidents(home)), daughter.phone.rang) == (1, 1)


def test_same_upload_id_with_another_body_is_refused(stage: Stage) -> None:
    home = stage.home()
    upload = home.band.upload(series=[home.band.series(10)])
    assert home.band.wearable.post(upload).status_code == 200
    upload["series"][0]["heart_rate_bpm"][0] += 1
    refused = home.band.wearable.post(upload)
    assert (refused.status_code, refused.json()["code"]) == (409, "upload_id_reused")


@both_engines
def test_one_bad_reading_in_a_thousand_is_named_and_the_others_are_kept(stage: Stage) -> None:
    home = stage.home()
    rows = [
        {"seq": home.band.take(), "at": home.band.told(1000 - i), "heart_rate_bpm": 70, "spo2_pct": 97}
        for i in range(1000)
    ]
    rows[437] |= {"heart_rate_bpm": 7000, "spo2_pct": 970}
    answer = home.band.post(readings=rows)
    bad = rows[437]["seq"]
    [rejected] = [v for v in answer["verdicts"] if v["verdict"] == "rejected"]
    assert (rejected["from"], rejected["to"]) == (bad, bad)
    stored = [v for v in answer["verdicts"] if v["verdict"] == "stored"]
    assert sum(v["to"] - v["from"] + 1 for v in stored) == 999
    page = stage.machine().get(f"/v1/patients/{home.id}/observations", vital="heart_rate_bpm").json()
    assert len(page["observations"]) == 999


def test_sos_after_a_counter_reset_rings(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    daughter.phone.answers("3")
    home.band.measures(20)
    home.band.boot_id, home.band.next_seq = str(uuid4()), 1
    answer = home.band.sos()
    assert answer["verdicts"] == [{"from": 1, "to": 1, "verdict": "stored"}]
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id


@both_engines
def test_sos_under_a_number_that_was_used_is_refused_as_a_row_and_rings_all_the_same(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    daughter.phone.answers("3")
    home.band.measures(20)
    home.band.next_seq = 5
    answer = home.band.sos()
    [verdict] = answer["verdicts"]
    assert (verdict["verdict"], verdict["code"]) == ("rejected", "seq_conflict")
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id


@pytest.mark.parametrize("body", [b"{", b'{"upload_id": NaN}', b"[]"])
def test_what_is_not_an_upload_is_refused_whole(stage: Stage, body: bytes) -> None:
    home = stage.home()
    refused = home.band.wearable.send(body)
    assert refused.status_code in {400, 422}
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert count(stage, _RECEIPT) == 0


@pytest.mark.parametrize("fault", ["nan", "no_boot_id", "bad_upload_id", "reused_upload_id", "too_many", "odd_type"])
def test_a_press_inside_a_signed_upload_that_is_refused_rings_once(stage: Stage, fault: str) -> None:
    daughter = stage.person("김민지")
    home = stage.home(daughter)
    daughter.phone.answers("3")
    upload = home.band.upload(readings=[home.band.event("sos")])
    headers: dict[str, str] = {}
    if fault == "no_boot_id":
        del upload["boot_id"]
    if fault == "bad_upload_id":
        upload["upload_id"] = "42"
    if fault == "reused_upload_id":
        upload["upload_id"] = home.band.upload(series=[home.band.series(5)])["upload_id"]
        first = home.band.upload(series=[home.band.series(5)]) | {"upload_id": upload["upload_id"]}
        assert home.band.wearable.post(first).status_code == 200
    if fault == "too_many":
        upload["series"] = [home.band.series(10_001)]
    body = msgspec.json.encode(upload)
    if fault == "nan":
        body = body.replace(b'"event"', b'"heart_rate_bpm":NaN,"event"')
    if fault == "odd_type":
        headers["content_type"] = "application/vnd.maker+json"
    statuses = {home.band.wearable.send(body, **headers).status_code for _ in range(3)}
    assert statuses <= {400, 409, 413, 415, 422}
    stage.finish_calls()
    assert (len(stage.incidents(home)), daughter.phone.rang) == (1, 1)


def test_a_press_inside_an_upload_that_nobody_signed_rings_nobody(stage: Stage) -> None:
    home = stage.home(stage.person("김민지"))
    upload = home.band.upload(readings=[home.band.event("sos")])
    del upload["boot_id"]
    body = msgspec.json.encode(upload)
    headers = home.band.wearable.headers(body) | {"Content-Type": "application/json"}
    forged = home.band.wearable._session.post(
        f"{home.band.wearable.url}/v1/readings", data=body + b" ", headers=headers, timeout=10
    )
    assert forged.status_code == 401
    assert stage.incidents(home) == []
