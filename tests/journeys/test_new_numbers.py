"""A new telephone number: the one that works rings on until somebody answered at the new one, and nobody is lost."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import requests
from journey_drills import Drills
from journey_marks import both_engines
from journey_people import Console, Home, Person, Phone, spoken
from journey_stage import Stage

from service.store import audit
from service.store import people as people_store
from service.workflows import contacts, gaps, numbers, people, reachability, verifying
from service.workflows.house import House
from service.workflows.incidents import Refused
from service.workflows.people import Profile

LINK = re.compile(r"/r/([\w-]{43})")
NEW = "+821077770001"


class Family:
    """A home with a daughter who has a page, and a new telephone that nobody proved yet."""

    def __init__(self, stage: Stage, *, verified: bool = True, band: bool = True) -> None:
        self.stage = stage
        self.daughter: Person = stage.person("이영희", login="daughter", password="a password", verified=verified)
        self.home: Home = stage.home(self.daughter, band=band)
        self.old: Phone = self.daughter.phone
        self.new: Phone = stage.phone(NEW, "새 전화")
        self.page: Console = stage.log_in(self.daughter.id, "daughter")
        self.drills = Drills(stage)
        for phone in (self.new, self.old, stage.desk):
            phone.rings_out()
        self.home.phone.answers("2")

    def gives(self, phone: str, person: object = None, by: Console | None = None) -> requests.Response:
        asking = by or self.page
        path = f"/v1/patients/{self.home.id}/contacts/{person or self.daughter.id}/phone"
        answer = asking.session.put(f"{asking.url}{path}", json={"phone": phone}, timeout=20)
        self.stage.settle()
        return answer

    def confirms(self, phone: Phone) -> requests.Response:
        found = LINK.search(phone.texts[-1].body)
        assert found is not None
        answer = requests.post(f"{self.stage.url}/r/{found[1]}", data={"action": "confirm"}, timeout=20)
        self.stage.settle()
        return answer

    def rung(self) -> str:
        with self.stage.house.database.read() as tx:
            found = people.number_of(self.stage.house, tx, self.daughter.id)
        return found[0] if found else ""

    def record(self) -> numbers.NumberRecord:
        return next(
            one for one in numbers.records(self.stage.house, self.home.id, "en") if one.person_id == self.daughter.id
        )


@pytest.fixture
def family(make_stage: Callable[..., Stage]) -> Family:
    return Family(make_stage(ANSIM_SILENT_AFTER_S="604800"))


@both_engines
def test_the_old_number_is_rung_until_somebody_confirmed_at_the_new_one(stage: Stage) -> None:
    family = Family(stage)
    given = family.gives(NEW)
    assert (given.status_code, given.json()["rung_now"]) == (202, False)
    assert len(family.new.texts) == 1 and family.old.texts == [], "the old number's owner is told nothing"
    assert family.home.name not in family.new.texts[0].body and "이영희" not in family.new.texts[0].body
    assert family.rung() == family.old.number
    assert family.record().new_state == "waiting"
    assert "고맙습니다" in family.confirms(family.new).text
    assert family.rung() == NEW
    assert (family.record().new_phone, family.record().verified_at) == (None, stage.clock())
    family.new.answers("3")
    assert family.home.band is not None
    family.home.band.sos()
    stage.advance_until(lambda: family.new.rang > 0, 120)
    assert family.old.rang == 0


def test_an_sos_before_the_new_number_is_confirmed_rings_the_old_one(family: Family) -> None:
    family.gives(NEW)
    family.old.answers("3")
    family.new.keeps_quiet()
    assert family.home.band is not None
    family.home.band.sos()
    family.stage.advance_until(lambda: family.stage.incidents(family.home)[0].acknowledged, 120)
    assert family.old.rang == 1


def test_where_nothing_proves_the_old_number_the_new_one_is_rung_first_at_once_and_the_old_one_after_it(
    make_stage: Callable[..., Stage],
) -> None:
    family = Family(make_stage(ANSIM_SILENT_AFTER_S="604800"), verified=False)
    assert family.gives(NEW).json()["rung_now"] is True
    assert family.rung() == NEW
    with family.stage.house.database.write() as tx:
        index = family.stage.house.keys.blind_index("phone", NEW)
        people_store.phone_broken(tx, family.daughter.id, index, family.stage.clock())
    assert family.rung() == family.old.number, "a slip of the pen loses nobody"
    assert family.record().new_state == "broken"


def test_key_9_at_the_new_number_keeps_the_old_one_and_says_so(family: Family) -> None:
    family.new.answers("9")
    family.gives(NEW)
    family.stage.advance_until(lambda: family.new.rang > 0, 3600)
    family.stage.finish_calls()
    assert "잘못" in spoken(family.new.calls[0]) or "다른" in spoken(family.new.calls[0])
    assert family.rung() == family.old.number
    assert family.record().new_state == "refused"
    family.new.keeps_quiet()
    family.stage.advance(86_400)


def test_a_link_that_went_to_the_number_before_proves_no_other_number(
    make_stage: Callable[..., Stage],
) -> None:
    family = Family(make_stage(ANSIM_SILENT_AFTER_S="604800"), verified=False)
    first = family.stage.phone("+821077770002", "a slip of the pen").rings_out()
    family.gives(first.number)
    family.stage.advance(5)
    family.gives(NEW)
    assert len(first.texts) == 1 and len(family.new.texts) == 1
    told = family.confirms(first).text
    assert "확인했습니다" not in told and "다른 번호가 등록되었습니다" in told
    assert "이영희" not in told and family.home.name not in told and NEW[-4:] not in told
    assert family.record().new_state == "waiting" and family.record().verified_at is None
    assert family.rung() == NEW
    assert "고맙습니다" in family.confirms(family.new).text
    assert family.record().verified_at == family.stage.clock()
    with family.stage.house.database.read() as tx:
        index = family.stage.house.keys.blind_index("phone", first.number)
        assert people_store.people_with_number(tx, index) == [], "it is nobody's any more"


def test_giving_the_old_number_again_takes_the_change_back(family: Family) -> None:
    family.gives(NEW)
    family.stage.advance(5)
    given = family.gives(family.old.number)
    assert given.json()["rung_now"] is True
    assert (family.record().new_phone, family.rung()) == (None, family.old.number)
    assert len(family.old.texts) == 1, "it is asked there"
    proven = family.record().verified_at
    assert "다른 번호가 등록되었습니다" in family.confirms(family.new).text
    assert (family.rung(), family.record().verified_at) == (family.old.number, proven), "asked elsewhere"


def test_the_persons_own_number_is_asked_by_a_call_and_then_rung(family: Family) -> None:
    family.new.answers("1")
    assert family.gives(NEW, family.home.id).status_code == 202
    family.stage.advance_until(lambda: family.new.rang > 0, 3600)
    family.stage.finish_calls()
    with family.stage.house.database.read() as tx:
        found = people.number_of(family.stage.house, tx, family.home.id)
    assert found is not None and found[0] == NEW
    assert family.home.phone.rang == 0


def test_an_unproven_number_is_a_gap_and_a_proven_one_ends_it_at_once(make_stage: Callable[..., Stage]) -> None:
    family = Family(make_stage(ANSIM_SILENT_AFTER_S="604800"), verified=False)
    gaps.look_at_all(family.stage.house)
    assert len(gaps.listed(family.stage.house, family.stage.organisation_id, "en")) == 1
    family.gives(NEW)
    gaps.look_at_all(family.stage.house)
    assert len(gaps.listed(family.stage.house, family.stage.organisation_id, "en")) == 1
    family.confirms(family.new)
    assert gaps.look_at_all(family.stage.house) == 1
    assert gaps.listed(family.stage.house, family.stage.organisation_id, "en") == []
    assert not reachability.of_patient(family.stage.house, family.home.id, "en").red


def test_who_may_give_a_new_number_and_every_change_is_on_the_record(family: Family) -> None:
    stage = family.stage
    other = stage.person("박이웃", login="neighbour", password="a password")
    stage.link(other, family.home, 1)
    neighbour = stage.log_in(other.id, "neighbour")
    stranger = stage.caregiver("남남", "stranger", stage.home(band=False))
    desk, chief = stage.staff("관제", "dispatcher"), stage.staff("운영", "operator")
    assert family.gives(NEW, by=stranger).status_code == 403
    assert family.gives(NEW, by=neighbour).status_code == 403, "another contact's number is not theirs to give"
    assert family.gives(NEW, family.home.id, by=stage.machine()).status_code == 403, "without patients:write"
    assert family.gives(NEW, stranger.person_id, by=desk).status_code == 404
    for asking in (desk, chief, family.page):
        assert family.gives(NEW, by=asking).status_code == 202
    refused = family.gives("010-1234-5678")
    assert (refused.status_code, refused.json()["code"], refused.json()["field"]) == (422, "phone_invalid", "phone")
    assert "010-1234-5678" in refused.json()["detail"]
    with stage.house.database.read() as tx:
        looks = audit.accesses(tx, family.home.id, most=50)
    given = [row.viewer_id for row in looks if row.purpose == "action:give_number"]
    assert {desk.person_id, chief.person_id, family.daughter.id} <= set(given)
    mine = family.page.get(f"/v1/patients/{family.home.id}/numbers").json()["numbers"]
    assert {one["person_id"] for one in mine} == {str(family.home.id), str(family.daughter.id)}
    assert len(desk.get(f"/v1/patients/{family.home.id}/numbers").json()["numbers"]) == 3
    assert stranger.get(f"/v1/patients/{family.home.id}/numbers").status_code == 403


def test_the_page_takes_a_number_as_it_is_typed_at_home_and_shows_what_became_of_it(family: Family) -> None:
    page, path = family.page, f"/patients/{family.home.id}/numbers"
    assert path in page.get(f"/patients/{family.home.id}").text
    shown = page.get(path).text
    assert "내 번호" in shown and "번호 바꾸기" in shown
    csrf = {"csrf": page.session.headers["X-CSRF-Token"]}
    url = f"{page.url}{path}/{family.daughter.id}"
    wrong = page.session.post(url, data=csrf | {"phone": "<b>1"}, timeout=20)
    assert wrong.status_code == 409 and "전화번호가 아닙니다" in wrong.text and "<b>" not in wrong.text
    saved = page.session.post(url, data=csrf | {"phone": "010-7777-0001"}, timeout=20)
    family.stage.settle()
    assert saved.status_code == 200 and "010-7777-0001" in saved.text and "아직 확인되지" in saved.text
    assert page.session.post(f"{url}/ask", data=csrf, timeout=20).status_code == 200
    family.confirms(family.new)
    assert "확인된 번호" in page.get(path).text and "아직 확인되지" not in page.get(path).text
    desk = family.stage.staff("관제", "dispatcher")
    assert path in desk.get("/reach").text and "박" not in desk.get(path).text
    assert desk.get(path).status_code == 200


def test_a_contact_is_proven_again_half_a_year_later_at_the_number_that_holds(stage: Stage) -> None:
    family = Family(stage, band=False)
    family.gives(NEW)
    family.confirms(family.new)
    family.stage.clock.move_to(family.stage.clock() + timedelta(days=200))
    assert family.record().verified_at is None
    verifying.begin(family.stage.house, family.home.id, family.daughter.id)
    family.stage.settle()
    asked = [text for text in family.new.texts if "번호가 맞는지" in text.body]
    assert len(asked) == 2 and family.old.texts == []
    found = LINK.search(asked[-1].body)
    assert found is not None
    requests.post(f"{stage.url}/r/{found[1]}", data={"action": "confirm"}, timeout=20)
    assert family.record().verified_at == stage.clock()


def test_one_telephone_is_one_contact(family: Family) -> None:
    """Compared as it is dialled, with the trunk zero that a Korean number has only at home."""
    stage = family.stage
    neighbour = stage.person("박이웃")
    stage.link(neighbour, family.home, 1)
    desk = stage.staff("운영", "operator")
    theirs = neighbour.phone.number
    for phone in (theirs, theirs.replace("+82", "+820")):
        refused = family.gives(phone)
        assert (refused.status_code, refused.json()["code"]) == (422, "phone_is_a_contacts")
        assert refused.json()["field"] == "phone" and "박이웃" not in refused.text
        assert theirs not in refused.text and f"•{theirs[-3:]}" in refused.json()["detail"]
    assert family.gives(family.home.phone.number).json()["code"] == "phone_is_the_persons"
    assert family.gives(stage.desk.number).json()["code"] == "phone_is_the_desks"
    assert family.gives(theirs, family.home.id, by=desk).json()["code"] == "phone_is_a_contacts"
    assert family.rung() == family.old.number and family.record().new_phone is None
    assert family.gives(family.old.number).status_code == 202, "one's own may be given again"
    family.gives(NEW)
    wanted = {"name": "둘째", "phone": NEW.replace("+82", "+820")}
    path = f"{desk.url}/v1/patients/{family.home.id}/contacts"
    added = desk.session.post(path, json=wanted, timeout=20)
    assert (added.status_code, added.json()["code"], added.json()["field"]) == (422, "phone_is_a_contacts", "phone")
    assert len(numbers.records(stage.house, family.home.id, "en")) == 3


def test_a_number_that_somebody_said_is_wrong_may_be_another_contacts(family: Family) -> None:
    stage = family.stage
    neighbour = stage.person("박이웃")
    stage.link(neighbour, family.home, 1)
    with stage.house.database.write() as tx:
        index = stage.house.keys.blind_index("phone", neighbour.phone.number)
        people_store.retire_phone(tx, neighbour.id, index, stage.clock())
    neighbour.phone.rings_out()
    assert family.gives(neighbour.phone.number).status_code == 202


def test_the_page_says_whose_number_it_is_that_cannot_be_given(family: Family) -> None:
    page, csrf = family.page, {"csrf": family.page.session.headers["X-CSRF-Token"]}
    url = f"{page.url}/patients/{family.home.id}/numbers/{family.daughter.id}"
    for phone, words in ((family.home.phone.number, "본인의 번호"), (family.stage.desk.number, "관제센터의 번호")):
        refused = page.session.post(url, data=csrf | {"phone": phone}, timeout=20)
        assert refused.status_code == 409 and words in refused.text


def test_what_is_asked_in_the_evening_says_when_it_begins_and_its_owner_may_be_rung_at_once(family: Family) -> None:
    stage, page = family.stage, family.page
    local = stage.clock() + timedelta(hours=9)
    stage.clock.move_to(stage.clock() + timedelta(hours=(21 - local.hour) % 24))
    given = page.session.put(
        f"{page.url}/v1/patients/{family.home.id}/contacts/{family.daughter.id}/phone?language=en",
        json={"phone": NEW}, timeout=20,
    ).json()  # fmt: skip
    stage.settle()
    assert given["asked"]["later"] == "night" and family.new.texts == []
    assert "tomorrow at 09:00" in given["asked"]["text"] and "between 20:00 and 09:00" in given["asked"]["text"]
    path = f"/patients/{family.home.id}/numbers"
    shown = page.get(path).text
    assert "내일 09:00에 연락을 시작합니다" in shown and "지금 바로 제게 전화하기" in shown
    family.new.answers("1")
    csrf = {"csrf": page.session.headers["X-CSRF-Token"], "now": "yes"}
    for _ in range(2):
        page.session.post(f"{page.url}{path}/{family.daughter.id}/ask", data=csrf, timeout=20)
        stage.settle()
    stage.finish_calls()
    assert family.new.rang == 1 and family.rung() == NEW
    assert "내일" not in page.get(path).text


def test_nobody_elses_telephone_is_rung_at_night_on_a_familys_word(family: Family) -> None:
    stage, page = family.stage, family.page
    path = f"/v1/patients/{family.home.id}/contacts/{family.home.id}/verify"
    refused = page.session.post(f"{page.url}{path}", json={"by": "call", "now": True}, timeout=20)
    assert refused.status_code == 403
    desk = stage.staff("관제", "dispatcher")
    family.home.phone.answers("1")
    asked = desk.session.post(f"{desk.url}{path}", json={"by": "call", "now": True}, timeout=20)
    assert asked.status_code == 202 and asked.json()["asked"]["later"] == ""
    with stage.house.database.read() as tx:
        looks = audit.accesses(tx, family.home.id, most=50)
    assert [row.viewer_id for row in looks if row.purpose == "action:verify_number_now"] == [desk.person_id]


def at_hour(stage: Stage, hour: int, minute: int = 0) -> None:
    """Go on to this time of day in Seoul."""
    local = stage.clock() + timedelta(hours=9)
    ahead = (hour * 60 + minute - local.hour * 60 - local.minute) % (24 * 60)
    stage.clock.move_to(stage.clock() + timedelta(minutes=ahead))


def test_who_was_texted_just_before_the_night_is_not_told_that_asking_begins_tomorrow(family: Family) -> None:
    stage, page = family.stage, family.page
    at_hour(stage, 19, 58)
    family.gives(NEW)
    assert len(family.new.texts) == 1
    stage.advance(180)
    shown = page.get(f"/patients/{family.home.id}/numbers").text
    assert "연락을 시작합니다" not in shown and "아직 답하지 않으신 분께는 내일 09:00에 연락드립니다" in shown
    assert "지금 바로 제게 전화하기" in shown
    path = f"/v1/patients/{family.home.id}/contacts/{family.daughter.id}/verify?language=en"
    asked = page.session.post(f"{page.url}{path}", timeout=20).json()["asked"]
    assert asked["begun"] and asked["text"].startswith("Whoever has not answered by then is asked tomorrow at 09:00")
    rang = family.new.rang
    stage.clock.move_to(stage.clock() + timedelta(hours=13))
    stage.settle()
    assert (len(family.new.texts), family.new.rang) == (1, rang + 1), "and so it is"


def test_in_the_hour_after_something_real_the_page_says_what_a_check_waits_for(family: Family) -> None:
    stage, page = family.stage, family.page
    at_hour(stage, 14)
    family.gives(NEW)
    family.old.answers("3")
    assert family.home.band is not None
    family.home.band.sos()
    stage.advance_until(lambda: stage.incidents(family.home)[0].acknowledged, 300)
    stage.finish_calls()
    path = f"/patients/{family.home.id}/numbers"
    ask = f"{page.url}/v1/patients/{family.home.id}/contacts/{family.daughter.id}/verify?language=en"
    closed = stage.machine().act(stage.incidents(family.home)[0].id, "close", reason="needed_help")
    assert closed.status_code == 200, closed.text
    stage.advance(60)
    shown = page.get(path).text
    assert "실제 상황이 먼저여서" in shown
    assert "지금 바로 제게 전화하기" not in shown and "다시 확인 요청하기" not in shown
    asked = page.session.post(ask, json={"by": "call", "now": True}, timeout=20).json()["asked"]
    stage.settle()
    assert asked["later"] == "incident" and family.new.rang == 0
    stage.advance(3600)
    assert len(family.new.texts) == 2, "it is asked anew, and the page no longer says that it waits"
    assert "실제 상황이 먼저여서" not in page.get(path).text


def test_who_was_refused_as_a_second_contact_at_the_last_moment_is_nobody(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two add the same telephone at once: the second is refused whole, and keeps no name to log in with."""
    stage, add = family.stage, people.add_person
    first = Profile(name="박이웃", phones=["+821077770003"])

    def overtaken(house: House, organisation_id: UUID, profile: Profile, **more: Any) -> UUID:
        made = add(house, organisation_id, first)
        people.add_role(house, made, organisation_id, "caregiver", patient_id=family.home.id, position=1)
        return add(house, organisation_id, profile, **more)

    monkeypatch.setattr(people, "add_person", overtaken)
    second = Profile(name="최둘째", phones=first.phones)
    with pytest.raises(Refused, match="another contact's"):
        ids = (stage.organisation_id, family.home.id)
        contacts.add(stage.house, *ids, second, relation="neighbour", position=2, login="second")
    with stage.house.database.read() as tx:
        assert people_store.person_by_login(tx, people.login_index(stage.house, "second")) is None
        index = stage.house.keys.blind_index("phone", "+821077770003")
        assert len(people_store.people_with_number(tx, index)) == 1
