"""Drills at the doors and in the plan: who may start one, when the monthly one comes, what the lists say."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from doors_stage import Band, Stage, assert_problem, make_stage

from dispatch import drill as rules
from dispatch import messages_drill
from dispatch.codes import Message
from dispatch.drill import DrillState, Link, Miss, Purpose
from dispatch.messages import prompt_for, text_for
from service.store import devices as device_store
from service.store import drills as store
from service.store import people as people_store
from service.workflows import drill_book, drills, people, reachability, verifying, virtual_bands

TEN = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
"""Ten in the morning in Seoul."""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = make_stage(tmp_path)
    made.clock.now = TEN
    yield made
    made.house.database.dispose()


@pytest.fixture
def serious(tmp_path: Path) -> Iterator[Stage]:
    """Not a demonstration: the first drill comes by itself."""
    made = make_stage(tmp_path, ANSIM_DEMO="no")
    made.clock.now = TEN
    yield made
    made.house.database.dispose()


def came_through(stage: Stage, patient_id: UUID) -> None:
    """The virtual band's SOS, as if it had come through the door."""
    with stage.house.database.write() as tx:
        patient = people_store.lock_patient(tx, patient_id)
        row = store.going_on(tx, patient_id)[0]
        held = drill_book.load(stage.house, tx, patient_id, row.id)
        assert held is not None and patient is not None
        drill_book.settle(stage.house, tx, held, rules.detected(held.drill, stage.clock()), stage.clock())


def answered(stage: Stage, patient_id: UUID, person_id: UUID) -> None:
    with stage.house.database.write() as tx:
        row = store.going_on(tx, patient_id)[0]
        held = drill_book.load(stage.house, tx, patient_id, row.id)
        assert held is not None
        decision = rules.confirmed(held.drill, person_id, "key", stage.clock())
        drill_book.settle(stage.house, tx, held, decision, stage.clock())
        index = stage.house.keys.blind_index("phone", "+821055500111")
        people_store.phone_answered(tx, person_id, index, stage.clock())


def reach(stage: Stage, patient_id: UUID) -> reachability.ReachRecord:
    return reachability.of_patient(stage.house, patient_id, "en")


def test_who_may_start_a_drill_and_see_what_it_proved(stage: Stage) -> None:
    patient_id = stage.patient()
    stage.person("caregiver", login="family", patient_id=patient_id, phone="+821055500111")
    stage.person("caregiver", login="stranger", patient_id=stage.patient(phone="+821055500102"))
    for login, role in (("desk", "dispatcher"), ("chief", "operator")):
        stage.person(role, login=login)
    path = f"/v1/patients/{patient_id}/drill"
    begun = set()
    for login, wanted in (("family", 202), ("desk", 202), ("chief", 202), ("stranger", 403)):
        client, csrf = stage.logged_in(login)
        answer = client.post(path, headers={"X-CSRF-Token": csrf})
        assert answer.status_code == wanted, (login, answer.text)
        assert client.get(f"/v1/patients/{patient_id}/reachability").status_code == (200 if wanted == 202 else 403)
        assert client.get("/v1/reachability").status_code == (200 if login in {"desk", "chief"} else 403)
        assert client.get("/reach").status_code == (200 if login in {"desk", "chief"} else 403)
        if wanted == 202:
            begun.add(answer.json["drill_id"])
    assert len(begun) == 1, "whoever asks joins the one that is going on"
    assert stage.client.post(path, headers=stage.key("patients:write")).status_code == 202
    assert_problem(stage.client.post(path, headers=stage.key("patients:read")), 403)
    assert_problem(stage.client.post(path), 401)
    other = stage.key("patients:write", organisation_id=people.add_organisation(stage.house, "other"))
    assert_problem(stage.client.post(path, headers=other), 403)


def test_a_number_is_verified_on_demand_and_by_itself_after_a_contact_was_added(stage: Stage) -> None:
    patient_id, key = stage.patient(), stage.key("patients:write")
    wanted = {"name": "박서준", "phone": "+821055500111"}
    made = stage.client.post(f"/v1/patients/{patient_id}/contacts", json=wanted, headers=key)
    with stage.house.database.read() as tx:
        going = store.going_on(tx, patient_id, store.VERIFY)
    assert len(going) == 1
    path = f"/v1/patients/{patient_id}/contacts/{made.json['person_id']}/verify"
    again = stage.client.post(path, headers=key, json={"by": "call"})
    assert again.status_code == 202 and again.json["verification_id"] == str(going[0].id)
    nobody = f"/v1/patients/{patient_id}/contacts/{stage.person('dispatcher')}/verify"
    assert_problem(stage.client.post(nobody, headers=key), 404, "not_found")
    assert_problem(stage.client.post(path, headers=key, json={"by": "post"}), 422)
    own = stage.client.post(f"/v1/patients/{patient_id}/contacts/{patient_id}/verify", headers=key)
    assert own.status_code == 202


def test_the_first_drill_is_planned_within_the_next_hour_of_the_day_and_begun_once(serious: Stage) -> None:
    patient_id = serious.patient()
    assert drills.tick(serious.house) == 0, "without a contact there is nothing to prove"
    serious.person("caregiver", patient_id=patient_id, phone="+821055500111")
    drills.tick(serious.house)
    due = reach(serious, patient_id).drill_due_at
    assert due is not None and TEN < due <= TEN + timedelta(hours=1)
    serious.clock.now = due
    drills.tick(serious.house)
    drills.tick(serious.house)
    assert [row[0] for row in serious.rows("SELECT count(*) FROM drill")] == [1]


def test_a_demonstration_is_not_disturbed_by_a_first_drill(stage: Stage) -> None:
    patient_id = stage.patient()
    stage.person("caregiver", patient_id=patient_id, phone="+821055500111")
    drills.tick(stage.house)
    due = reach(stage, patient_id).drill_due_at
    assert due is not None and due - TEN > timedelta(days=29)


def test_the_next_drill_comes_within_a_month_of_the_last_and_never_begins_at_night(stage: Stage) -> None:
    patient_id = stage.patient()
    son = stage.person("caregiver", patient_id=patient_id, phone="+821055500111")
    drills.begin(stage.house, patient_id)
    came_through(stage, patient_id)
    answered(stage, patient_id, son)
    first = reach(stage, patient_id)
    assert first.proven_at == TEN and not first.red and first.drill is not None
    assert (first.drill.reached, first.drill.contacts, first.drill.state) == (1, 1, "proven")
    assert first.drill_due_at is not None and first.drill_due_at - TEN <= timedelta(days=31)
    stage.clock.now = first.drill_due_at + timedelta(hours=14)
    drills.tick(stage.house)
    assert stage.rows("SELECT count(*) FROM drill")[0][0] == 1, "at night none is begun"
    stage.clock.advance(10 * 3600)
    drills.tick(stage.house)
    assert stage.rows("SELECT count(*) FROM drill")[0][0] == 2


def test_not_proven_for_more_than_thirty_five_days_is_listed_and_red_comes_first(stage: Stage) -> None:
    broken, well, late = (stage.patient(name, phone=f"+8210555001{i}0") for i, name in enumerate("가나다"))
    contacts = {one: stage.person("caregiver", patient_id=one, phone="+821055500111") for one in (broken, well, late)}
    for one in (broken, well, late):
        drills.begin(stage.house, one)
        came_through(stage, one)
        answered(stage, one, contacts[one])
    stage.clock.advance(36 * 86_400)
    for one in (broken, well):
        drills.begin(stage.house, one)
        came_through(stage, one)
    answered(stage, well, contacts[well])
    with stage.house.database.write() as tx:
        people_store.retire_phone(
            tx, contacts[broken], stage.house.keys.blind_index("phone", "+821055500111"), stage.clock()
        )
    found = reachability.of_organisation(stage.house, stage.organisation_id, "ko")
    assert [(one.patient_id, one.red, one.overdue) for one in found] == [
        (broken, True, True),
        (late, False, True),
        (well, False, False),
    ]
    assert "다른 사람의 번호" in found[0].broken[-1].text


def test_the_list_opens_no_drill_and_says_all_the_same_that_nobody_is_asked_at_night(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient_id = stage.patient()
    stage.person("caregiver", patient_id=patient_id, phone="+821055500111")
    drills.begin(stage.house, patient_id)
    stage.clock.now = TEN + timedelta(hours=10, minutes=5)
    came_through(stage, patient_id)
    with stage.house.database.write() as tx:
        row = store.going_on(tx, patient_id)[0]
        held = drill_book.load(stage.house, tx, patient_id, row.id)
        assert held is not None
        drill_book.settle(stage.house, tx, held, rules.step(held.drill, stage.clock()), stage.clock())
    one = reach(stage, patient_id).drill
    assert one is not None and one.held is not None and "Asking begins tomorrow at 09:00" in one.held.text

    def opened(*_: object) -> rules.Drill:
        raise AssertionError("a list unsealed a drill")

    monkeypatch.setattr(drill_book, "opened", opened)
    [found] = reachability.of_organisation(stage.house, stage.organisation_id, "en")
    assert found.drill is not None and found.drill.held is not None
    assert found.drill.held.text.startswith("Whoever has not answered by then is asked tomorrow at 09:00")
    stage.clock.now = TEN + timedelta(days=1)
    [found] = reachability.of_organisation(stage.house, stage.organisation_id, "en")
    assert found.drill is not None and found.drill.held is None


def test_nobody_with_a_verified_number_shows_red_after_the_first_day(stage: Stage) -> None:
    patient_id = stage.patient()
    son = stage.person("caregiver", patient_id=patient_id, phone="+821055500111")
    assert not reach(stage, patient_id).red
    stage.clock.advance(86_401)
    assert [one.link for one in reach(stage, patient_id).broken] == ["unverified"]
    with stage.house.database.write() as tx:
        index = stage.house.keys.blind_index("phone", "+821055500111")
        people_store.phone_answered(tx, son, index, stage.clock())
    assert not reach(stage, patient_id).red
    stage.clock.advance(181 * 86_400)
    assert "unverified" in [one.link for one in reach(stage, patient_id).broken]


def test_without_a_contact_the_chain_is_broken(stage: Stage) -> None:
    found = reach(stage, stage.patient())
    assert [one.link for one in found.broken] == ["contacts"] and found.red


def test_a_real_incident_takes_a_drills_messages_off_in_its_own_commit(stage: Stage) -> None:
    patient_id = stage.patient()
    stage.person("caregiver", patient_id=patient_id, phone="+821055500111")
    band = stage.band(patient_id)
    drills.begin(stage.house, patient_id)
    came_through(stage, patient_id)
    drills.tick(stage.house)
    assert stage.rows("SELECT step, status FROM notification") == [("drill", "pending")]
    assert press(band, stage).status_code == 200
    statuses = dict(stage.rows("SELECT step, status FROM notification WHERE step = 'drill'"))
    assert statuses == {"drill": "cancelled"} and stage.incidents() == 1
    drills.tick(stage.house)
    with stage.house.database.read() as tx:
        assert store.going_on(tx, patient_id)[0].state == DrillState.WAITING


def press(band: Band, stage: Stage) -> Any:
    return band.post(band.upload({"event": "sos"}, at=stage.clock()))


def test_an_upload_of_the_virtual_band_that_must_be_refused_rescues_no_sos(stage: Stage) -> None:
    patient_id = stage.patient()
    drills.begin(stage.house, patient_id)
    with stage.house.database.read() as tx:
        band = store.band(tx, patient_id)
    assert band is not None
    key = stage.house.unseal(patient_id, "virtual_band", str(band.device_id), band.sealed_key, bytes)
    virtual = Band(stage.client, str(band.device_id), Ed25519PrivateKey.from_private_bytes(key))
    refused = virtual.send(b'{"upload_id": "none", "readings": [{"seq": 1, "event": "sos"}]}')
    assert refused.status_code == 422 and stage.incidents() == 0
    for rows in ([{"heart_rate_bpm": 72}], [{"heart_rate_bpm": 30}, {"event": "fall"}]):
        assert virtual.post(virtual.upload(*rows, at=stage.clock())).status_code == 200
    assert stage.incidents() == 0 and stage.rows("SELECT count(*) FROM upload")[0][0] == 0
    assert stage.rows("SELECT count(*) FROM alarm_condition")[0][0] == 0


def test_the_virtual_bands_key_is_sealed_and_is_in_no_answer(stage: Stage) -> None:
    patient_id = stage.patient()
    stage.person("operator", login="chief")
    drills.begin(stage.house, patient_id)
    with stage.house.database.read() as tx:
        band = store.band(tx, patient_id)
    assert band is not None
    key = stage.house.unseal(patient_id, "virtual_band", str(band.device_id), band.sealed_key, bytes)
    assert len(key) == 32
    for path in sorted(stage.folder.rglob("*")):
        assert not path.is_file() or key not in path.read_bytes(), path
    client, _ = stage.logged_in("chief")
    for path in ("/reach", "/v1/reachability", f"/v1/patients/{patient_id}/reachability", "/v1/patients"):
        assert str(band.device_id) not in client.get(path).text


def test_a_revoked_virtual_band_is_made_anew(stage: Stage) -> None:
    patient_id = stage.patient()
    drills.begin(stage.house, patient_id)
    with stage.house.database.write() as tx:
        before = store.band(tx, patient_id)
        assert before is not None
        device_store.revoke_device(tx, before.device_id, stage.clock())
        patient = people_store.lock_patient(tx, patient_id)
        assert patient is not None
        virtual_bands.ensure(stage.house, tx, patient, stage.clock())
        after = store.band(tx, patient_id)
    assert after is not None and after.device_id != before.device_id


def test_a_virtual_band_is_no_silent_device(stage: Stage) -> None:
    drills.begin(stage.house, stage.patient())
    with stage.house.database.read() as tx:
        later = stage.clock() + timedelta(days=60)
        assert device_store.silent_devices(tx, later) == []
        assert device_store.silence_by_district(tx, later, 0.8) == []


def test_a_broken_record_of_one_person_does_not_keep_the_others_from_their_drill(stage: Stage) -> None:
    torn, well = stage.patient("가"), stage.patient("나", phone="+821055500102")
    for one in (torn, well):
        stage.person("caregiver", patient_id=one, phone="+821055500111")
        drills.begin(stage.house, one)
    with stage.house.database.write() as tx:
        tx.conn.exec_driver_sql("UPDATE drill SET sealed = x'00' WHERE patient_id = ?", (torn.hex,))
    came_through(stage, well)
    drills.tick(stage.house)
    states = {row[0]: row[1] for row in stage.rows("SELECT patient_id, state FROM drill")}
    assert sorted(states.values()) == ["broken", "running"]
    assert len(stage.rows("SELECT id FROM notification")) == 1


def test_verifying_somebody_without_a_number_is_refused_in_words(stage: Stage) -> None:
    patient_id = stage.patient()
    nobody = stage.person("caregiver", patient_id=patient_id)
    with pytest.raises(drills.NobodyToReach, match="no number"):
        verifying.begin(stage.house, patient_id, nobody)


@pytest.mark.parametrize("language", ["ko", "en"])
def test_every_word_of_a_drill_and_of_a_verification_exists_and_says_which_it_is(language: str) -> None:
    words = {"ko": ("훈련", "연락", "시험 전화"), "en": ("drill", "contact", "test")}[language]
    for key, pair in messages_drill.WORDS.items():
        said = messages_drill.say(key, language, "1").lines[0]
        assert words[("drill", "verify", "desk").index(key.partition("_")[0])] in said and set(pair) == {"ko", "en"}
    for purpose in Purpose:
        assert {f"{purpose}_{end}" for end in ("confirmed", "no_key", "over", "stopped")} <= set(messages_drill.WORDS)
    assert words[0] in text_for(Message.DRILL_TEXT, language) and words[0] in text_for(Message.DRILL_BROKEN, language)
    assert words[0] in " ".join(prompt_for(Message.DRILL_CALL, language).lines)
    assert words[0] not in " ".join(prompt_for(Message.VERIFY_CALL, language).lines)


@pytest.mark.parametrize("language", ["ko", "en"])
def test_every_broken_link_has_its_words(language: str) -> None:
    for link in [*Link, "unverified"]:
        assert messages_drill.link_text(link, "", "", language) == messages_drill.LINKS[link][language]
    for miss in set(Miss) - {Miss.HELD}:
        assert "박서준" in messages_drill.link_text("contact", miss.value, "박서준", language)
        assert set(messages_drill.MISSES[miss.value]) == {"ko", "en"}
