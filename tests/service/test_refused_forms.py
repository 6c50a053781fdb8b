"""A form that was refused comes back open, with what was typed in it and why it was refused beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from contacts_stage import case_with_contacts, contact
from doors_stage import Stage, make_stage
from test_links import cry, home, link_to, send

from service.store import people as people_store
from service.workflows import ticking

ODD = ["", "x" * 5000, "<b>ㅁ\u0000\u202e", "010-5550-"]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = make_stage(tmp_path)
    made.person("dispatcher", login="desk", name="이서연")
    yield made
    made.house.database.dispose()


def family(stage: Stage) -> tuple[UUID, UUID]:
    """Somebody with one contact who is proven and signed in, and one who is not proven; the person and the first."""
    patient_id, phone = stage.patient("박영희"), "+821055501001"
    own = stage.person("caregiver", login="family", name="김하늘", patient_id=patient_id, phone=phone)
    with stage.house.database.write() as tx:
        people_store.phone_answered(tx, own, stage.house.keys.blind_index("phone", phone), stage.clock())
    contact(stage, patient_id, "박미확", 1, proven=False)
    return patient_id, own


def form_of(page: str, ident: str) -> str:
    """The opened part of the page that holds a form."""
    [found] = re.findall(rf'<details[^>]* id="{ident}" open>.*?</details>', page, re.DOTALL)
    return str(found)


def test_a_removal_that_wants_a_tick_is_open_with_its_reason_and_what_it_wants(stage: Stage) -> None:
    patient_id, own = family(stage)
    client, csrf = stage.logged_in("family")
    again = client.post(f"/patients/{patient_id}/numbers/{own}/remove", data={"csrf": csrf, "why": "asked"})
    assert again.status_code == 409
    form = form_of(again.text, f"r-{own}")
    assert 'value="asked" selected' in form and 'name="sure"' in form
    assert "확인된 마지막 연락처입니다" in form and 'role="alert"' in form
    assert again.text.count('" open>') == 1


@pytest.mark.parametrize("phone", ODD)
def test_a_number_that_is_none_stays_in_its_field_with_the_sentence_beside_it(stage: Stage, phone: str) -> None:
    patient_id, own = family(stage)
    client, csrf = stage.logged_in("family")
    again = client.post(f"/patients/{patient_id}/numbers/{own}", data={"csrf": csrf, "phone": phone})
    assert again.status_code == 409
    form = form_of(again.text, f"d-{own}")
    assert "전화번호가 아닙니다" in form and f'aria-describedby="e-{own}"' in form
    assert f'id="n-{own}"' in again.text and f"#n-{own}" in form, "the browser comes back to this card"


@pytest.mark.parametrize("fields", [{"quiet_from": "22:00", "quiet_to": ""}, {"away_until": "2020-01-01"}])
def test_hours_that_cannot_be_are_still_there_to_be_mended(stage: Stage, fields: dict[str, str]) -> None:
    patient_id, _ = family(stage)
    client, csrf = stage.logged_in("family")
    again = client.post(f"/patients/{patient_id}/availability", data={"csrf": csrf, **fields})
    assert again.status_code == 409
    form = form_of(again.text, "d-mine")
    assert all(f'name="{name}"' in form and f'value="{typed}"' in form for name, typed in fields.items() if typed)
    assert 'role="alert"' in form and "골라 주세요" in form


@pytest.mark.parametrize("day", [*ODD[1:], "2020-01-01"])
def test_a_day_of_return_that_cannot_be_is_said_beside_the_day(stage: Stage, day: str) -> None:
    patient_id, _ = family(stage)
    client, csrf = stage.logged_in("family")
    again = client.post(f"/patients/{patient_id}/away", data={"csrf": csrf, "until": day})
    assert again.status_code == 409
    form = form_of(again.text, "d-away")
    assert "돌아오시는 날을 오늘부터" in form and 'role="alert"' in form


@pytest.mark.parametrize("reason", ["", "x" * 5000, "<b>\u0000"])
@pytest.mark.parametrize("action", ["close", "stand_down"])
def test_a_case_is_not_ended_without_a_reason_and_the_form_says_so(stage: Stage, action: str, reason: str) -> None:
    incident_id = case_with_contacts(stage)
    client, csrf = stage.logged_in("desk")
    client.post(f"/incidents/{incident_id}/claim", data={"csrf": csrf})
    sent = {"csrf": csrf, "reason": reason, "sure": "yes"}
    again = client.post(f"/incidents/{incident_id}/{action}", data=sent)
    assert again.status_code == 409
    assert "빠졌거나 잘못 적은 칸이 있습니다" in form_of(again.text, f"d-{action}")


@pytest.mark.parametrize("to", ["", "x" * 500, "<b>119</b>"])
def test_a_desk_that_is_no_name_is_still_in_the_field(stage: Stage, to: str) -> None:
    incident_id = case_with_contacts(stage)
    client, csrf = stage.logged_in("desk")
    client.post(f"/incidents/{incident_id}/claim", data={"csrf": csrf})
    again = client.post(f"/incidents/{incident_id}/handover/offer", data={"csrf": csrf, "to": to})
    assert again.status_code == 409
    form = form_of(again.text, "h-offer")
    assert "빠졌거나 잘못 적은 칸이 있습니다" in form
    assert f'value="{to[:100].replace("<", "&lt;").replace(">", "&gt;")}"' in form


def test_no_form_is_taken_without_its_token(stage: Stage) -> None:
    patient_id, own = family(stage)
    incident_id = case_with_contacts(stage)
    client, _ = stage.logged_in("desk")
    for path in (
        f"/patients/{patient_id}/numbers/{own}",
        f"/patients/{patient_id}/numbers/{own}/remove",
        f"/patients/{patient_id}/availability",
        f"/patients/{patient_id}/away",
        f"/incidents/{incident_id}/close",
        f"/incidents/{incident_id}/handover/offer",
        "/policies/check",
    ):
        answer: Any = client.post(path, data={"csrf": "not it"}, headers={"Accept-Language": "ko"})
        assert (answer.status_code, "볼 수 없는 화면입니다" in answer.text) == (403, True), path


def test_who_asks_by_the_link_how_it_stands_is_told_when_the_other_will_be_there(stage: Stage) -> None:
    patient_id, _ = home(stage, "+821055551000", "+821055551001")
    cry(stage, patient_id)
    stage.clock.advance(60)
    ticking.run_due(stage.house)
    send(stage)
    has_it, asks = link_to(stage, "+821055551000"), link_to(stage, "+821055551001")
    stage.client.post(has_it, data={"action": "acknowledge"})
    stage.client.post(has_it, data={"action": "going", "eta_min": "20"})
    before, after = stage.client.get(asks).text, stage.client.post(asks, data={"action": "show"}).text
    assert "보호자0 님이 맡았습니다" in after and "도착 예정" in after
    assert "보호자0" not in before and "도착 예정" not in before
