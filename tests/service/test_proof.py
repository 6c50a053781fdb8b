"""Proof of help: one signed record a closed case, made after a crash too, and made anew for what comes late."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from doors_stage import Stage, assert_problem, make_stage
from proof_stage import Played, copy_of, play, verified
from sqlalchemy import select, text

from dispatch.incident import LogEntry
from service import cli
from service.store import incidents as incident_store
from service.store import outbox
from service.store import proof as store
from service.workflows import cases, proof, proof_page
from service.workflows.proof_document import Document, opened


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = make_stage(tmp_path / "data")
    yield made
    made.house.database.dispose()


@pytest.fixture
def played(stage: Stage, tmp_path: Path) -> Played:
    return play(tmp_path, stage=stage)


def versions(played: Played) -> list[Any]:
    with played.stage.house.database.read() as tx:
        return list(store.versions(tx, played.patient_id, played.incident_id))


def document(played: Played) -> Document:
    found = opened(versions(played)[-1].document)
    assert isinstance(found, Document)
    return found


def owed(played: Played) -> bool:
    with played.stage.house.database.read() as tx:
        row = incident_store.incident(tx, played.incident_id)
    return row is not None and row.proof_due_at is not None


def a_message(played: Played, **values: Any) -> None:
    """Something about one message changes, as a late callback changes it."""
    with played.stage.house.database.write() as tx:
        rows = outbox.notifications_of(tx, [played.incident_id])
        outbox.update_notification(tx, rows[0].id, **values)


def test_a_closed_case_is_signed_row_by_row(played: Played) -> None:
    leaves = document(played).leaves
    tables = [leaf.table for leaf in leaves]
    assert tables == sorted(tables, key=list(store.COVERS).index), "readings, rule, log, calls, and the case itself"
    # Three uploads before the press, and the press itself.
    assert (tables.count("upload"), tables.count("alarm_condition"), tables.count("incident")) == (4, 1, 1)
    assert tables.count("incident_log") > 8
    assert tables.count("notification") >= 2
    assert versions(played)[0].number == 1


def test_an_open_case_is_not_signed(stage: Stage, tmp_path: Path) -> None:
    played = play(tmp_path, stage=stage, close=False)
    assert played.sign() == 0
    assert versions(played) == []


def test_readings_older_than_half_an_hour_before_the_onset_are_no_evidence(stage: Stage, tmp_path: Path) -> None:
    played = play(tmp_path, stage=stage, close=False)
    stage.clock.advance(-3600)
    played.band.post(played.band.upload({"heart_rate_bpm": 70}, at=stage.clock()))
    stage.clock.advance(3600 + 600)
    played.band.post(played.band.upload({"heart_rate_bpm": 71}, at=stage.clock()))
    played.closes()
    assert [leaf.table for leaf in document(played).leaves].count("upload") == 4


def test_a_crash_between_closing_and_signing_delays_the_proof_and_never_loses_it(stage: Stage, tmp_path: Path) -> None:
    played = play(tmp_path, stage=stage, close=False)
    played.act("close", reason="needed_help")
    assert owed(played), "the closing commit owes it"
    played.sends()
    stage.house.extras.clear()
    assert played.sign() == 1
    assert not owed(played)
    assert played.sign() == 0


def test_a_crash_while_signing_leaves_it_owed(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = play(tmp_path, stage=stage, close=False)
    played.act("close", reason="needed_help")
    played.sends()
    with monkeypatch.context() as patch:

        def dies(*_given: Any) -> None:
            raise RuntimeError("killed")

        patch.setattr(store, "settled", dies)
        assert played.sign() == 0
    assert versions(played) == []
    assert owed(played)
    assert played.sign() == 1


def test_the_proof_waits_for_messages_that_are_still_going_out(stage: Stage, tmp_path: Path) -> None:
    played = play(tmp_path, stage=stage, close=False)
    played.act("close", reason="needed_help")
    with stage.house.database.write() as tx:
        row = outbox.notifications_of(tx, [played.incident_id])[0]
        outbox.update_notification(tx, row.id, status="pending")
    assert played.sign() == 0
    stage.clock.advance(16 * 60)
    assert played.sign() == 1, "but not for ever"


def test_what_comes_after_closing_makes_a_version_of_its_own(played: Played) -> None:
    a_message(played, outcome="hung_up")
    assert owed(played)
    played.sign()
    first, second = versions(played)
    assert (second.version, second.number) == (2, 2)
    assert document(played).previous == first.head
    played.act("note", text="가족과 통화")
    played.sign()
    assert [one.version for one in versions(played)] == [1, 2, 3]
    report = verified(played.file)
    assert report.ok, report.faults
    assert report.late == 2


def test_a_repeated_callback_that_changes_nothing_makes_no_version(played: Played) -> None:
    with played.stage.house.database.read() as tx:
        row = outbox.notifications_of(tx, [played.incident_id])[0]
    a_message(played, outcome=row.outcome)
    assert owed(played)
    played.sign()
    assert len(versions(played)) == 1
    assert not owed(played)


def test_a_sign_that_ends_after_closing_is_signed_too(played: Played) -> None:
    with played.stage.house.database.write() as tx:
        tx.conn.execute(text("UPDATE alarm_condition SET ended_at = NULL"))
        incident_store.end_conditions(tx, played.patient_id, ["sos"], played.stage.clock())
    assert owed(played)
    played.sign()
    assert verified(played.file).ok


@pytest.mark.parametrize(
    ("sql", "row"),
    [
        ("UPDATE incident_log SET at = at + 1 WHERE seq = 3", "incident_log"),
        ("DELETE FROM incident_log WHERE seq = 3", "incident_log"),
        ("UPDATE alarm_condition SET code = 'fall'", "alarm_condition"),
        ("UPDATE notification SET target_id = id", "notification"),
        ("UPDATE proof SET document = document || ' '", "proof"),
    ],
)
def test_what_was_changed_is_never_signed_again_and_the_desk_hears_of_it(
    played: Played, sql: str, row: str, caplog: pytest.LogCaptureFixture
) -> None:
    with played.stage.house.database.write() as tx:
        tx.conn.execute(text(sql))
        tx.conn.execute(text("UPDATE incident SET proof_due_at = closed_at WHERE closed_at IS NOT NULL"))
    assert played.sign() == 0
    assert len(versions(played)) == 1
    assert f"table={row}" in caplog.text
    with played.stage.house.database.read() as tx:
        codes = [one.code for one in incident_store.open_conditions(tx, [played.patient_id])]
    assert codes == ["record_unreadable"]
    assert not verified(played.file).ok


def test_all_proofs_of_a_site_are_one_chain(played: Played, tmp_path: Path) -> None:
    for _ in range(3):
        play(tmp_path, stage=played.stage)
    with played.stage.house.database.read() as tx:
        rows = tx.conn.execute(text("SELECT number, head, document FROM proof ORDER BY number")).all()
    documents = [opened(row.document) for row in rows]
    assert [one.number for one in documents] == [1, 2, 3, 4]
    assert [one.before for one in documents[1:]] == [row.head for row in rows[:-1]]
    report = verified(copy_of(played, tmp_path / "copy.db"))
    assert (report.ok, report.incidents, report.proofs) == (True, 4, 4)


def test_erasing_a_person_leaves_their_proof_true_and_closes_what_it_told(played: Played) -> None:
    stage = played.stage
    assert proof_page.export(stage.house, played.incident_id, full=True).opened
    stage.house.keys.erase(played.patient_id)
    report = verified(played.file)
    assert report.ok, report.faults
    export = proof_page.export(stage.house, played.incident_id, full=True)
    assert export.opened == []
    assert export.withheld > 8


def test_a_case_closed_after_an_erasure_is_signed_all_the_same(stage: Stage, tmp_path: Path) -> None:
    played = play(tmp_path, stage=stage, close=False)
    played.act("close", reason="needed_help")
    played.sends()
    stage.house.keys.erase(played.patient_id)
    played.sign()
    assert document(played).told == []
    assert verified(played.file).ok


def test_the_key_outlives_a_restart_and_is_no_plain_secret(played: Played) -> None:
    first = proof.signing_key(played.stage.house)
    played.stage.house.extras.clear()
    assert proof.signing_key(played.stage.house).public == first.public
    raw = first.private.private_bytes_raw()
    for file in played.stage.folder.rglob("*"):
        assert not file.is_file() or raw not in file.read_bytes(), file


def test_the_key_is_told_to_anybody(played: Played) -> None:
    answer = played.stage.client.get("/v1/proof/key")
    own = proof.signing_key(played.stage.house)
    assert answer.json == {"alg": "ed25519", "keyid": own.keyid, "fingerprint": own.fingerprint, "pem": own.pem}


# --- on both engines ------------------------------------------------------------------------------


def test_the_same_case_has_the_same_hashes_on_either_engine(
    played: Played, postgres: Callable[[str], str], tmp_path: Path
) -> None:
    address = postgres("proof")
    other = make_stage(tmp_path / "pg", ANSIM_DATABASE_URL=address)
    with played.stage.house.database.read() as here, other.house.database.write() as there:
        for model in (*store.TABLES.values(),):
            rows = [dict(row._mapping) for row in here.conn.execute(select(model)).all()]
            if rows:
                there.conn.execute(model.insert(), rows)
    key = proof.signing_key(played.stage.house)
    with other.house.database.write() as tx:
        proof._publish(tx, key, other.clock())
    report = verified(address)
    assert report.ok, report.faults
    assert report.rows == verified(played.file).rows
    with other.house.database.write() as tx:
        tx.conn.execute(text("UPDATE notification SET outcome = 'busy'"))
    faults = verified(address).faults
    assert faults
    assert {fault.table for fault in faults} == {"notification"}
    other.house.database.dispose()


# --- what people see ------------------------------------------------------------------------------


def duressed(stage: Stage, tmp_path: Path) -> Played:
    """A case in which the person pressed the secret key: written into its log as the engine writes it."""
    played = play(tmp_path, stage=stage, close=False)
    lines = [
        LogEntry(what="asked", who="system"),
        LogEntry(what="answered_duress", who="patient"),
        LogEntry(what="check_ended", who="system", params={"how": "duress"}),
        LogEntry(what="confirmed", who="system", params={"why": "duress"}),
    ]
    with stage.house.database.write() as tx:
        cases.write_log(stage.house, tx, played.patient_id, played.incident_id, lines, stage.clock())
    played.closes()
    return played


def test_the_family_sees_neither_the_secret_call_for_help_nor_the_desks_notes(stage: Stage, tmp_path: Path) -> None:
    played = duressed(stage, tmp_path)
    stage.person("caregiver", login="c", patient_id=played.patient_id)
    stage.person("dispatcher", login="d")
    family, _ = stage.logged_in("c")
    desk, _ = stage.logged_in("d")
    for path in (f"/incidents/{played.incident_id}/proof", f"/v1/incidents/{played.incident_id}/proof"):
        seen, known = family.get(path).text, desk.get(path).text
        for secret in ("duress", "비밀", "따님과 통화함"):
            assert secret not in seen, (path, secret)
        assert "따님과 통화함" in known
    shown = family.get(f"/v1/incidents/{played.incident_id}/proof").json
    assert shown["withheld"] >= 4
    assert not {one["content"].get("what") for one in shown["opened"]} & {"check_ended", "confirmed", "noted"}
    text = family.get(f"/incidents/{played.incident_id}/proof").text
    assert "서명한 그대로입니다" in text
    assert proof.signing_key(stage.house).fingerprint in text


def test_the_familys_copy_is_verified_like_the_desks(
    stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    played = duressed(stage, tmp_path)
    stage.person("caregiver", login="c", patient_id=played.patient_id)
    family, _ = stage.logged_in("c")
    file = tmp_path / "proof.json"
    file.write_bytes(family.get(f"/v1/incidents/{played.incident_id}/proof").data)
    own = proof.signing_key(stage.house).fingerprint
    assert cli.main(["verify", "--json", "--proof", str(file), "--public-key", own]) == 0
    assert json.loads(capsys.readouterr().out)["pinned"] is True


def test_strangers_see_no_proof(played: Played) -> None:
    stage = played.stage
    stage.person("caregiver", login="s", patient_id=stage.patient("다른 이", phone="+821055500109"))
    stranger, _ = stage.logged_in("s")
    path = f"/v1/incidents/{played.incident_id}/proof"
    assert_problem(stranger.get(path), 403, "forbidden")
    assert stranger.get(f"/incidents/{played.incident_id}/proof").status_code == 403
    assert_problem(stage.client.get(path, headers=stage.key("patients:read")), 403)
    assert_problem(stage.client.get(path), 401)
    assert stage.client.get(path, headers=stage.key("incidents:read")).status_code == 200


def test_a_changed_case_says_so_on_its_page(played: Played) -> None:
    stage = played.stage
    stage.person("dispatcher", login="d")
    client, _ = stage.logged_in("d")
    with stage.house.database.write() as tx:
        tx.conn.execute(text("UPDATE notification SET outcome = 'busy'"))
    page = client.get(f"/incidents/{played.incident_id}/proof").text
    assert "서명한 뒤 기록이 바뀌었습니다" in page
    assert "서명한 그대로입니다" not in page


def test_the_closed_cases_page_and_the_familys_page_lead_to_the_proof(played: Played) -> None:
    stage = played.stage
    stage.person("dispatcher", login="d")
    stage.person("caregiver", login="c", patient_id=played.patient_id)
    link = f'href="/incidents/{played.incident_id}/proof"'
    assert link in stage.logged_in("d")[0].get(f"/incidents/{played.incident_id}").text
    assert link in stage.logged_in("c")[0].get(f"/patients/{played.patient_id}").text


def test_nothing_is_owed_for_a_case_that_is_open(stage: Stage, tmp_path: Path) -> None:
    """Callbacks of open cases are the hot road: they must owe nothing."""
    played = play(tmp_path, stage=stage, close=False)
    a_message(played, outcome="busy")
    row = stage.rows("SELECT proof_due_at FROM incident")[0]
    assert row[0] is None
