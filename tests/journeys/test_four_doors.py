"""Key, link, text and page: whoever is first has it, by whichever door, and the others learn so."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest
import requests
from journey_marks import both_engines
from journey_people import Console, Home, Person
from journey_stage import TOKEN, Stage
from sqlalchemy import update
from twilio.request_validator import RequestValidator

from dispatch import messages
from service.store.tables import Person as PersonRow
from service.store.tables import table
from service.workflows import links, people

AMERICAN = "+12025550{:03d}"
"""A number in whose country texts can be answered."""


def says(stage: Stage, path: str, form: dict[str, str]) -> requests.Response:
    """What the carrier posts, signed."""
    url = f"{stage.url}{path}"
    signed = RequestValidator(TOKEN).compute_signature(url, form)
    return requests.post(url, data=form, headers={"X-Twilio-Signature": signed}, timeout=20)


def writes(stage: Stage, person: Person, body: str, sid: str = "SM1") -> requests.Response:
    form = {"MessageSid": sid, "From": person.phone.number, "To": stage.our_number, "Body": body}
    return says(stage, "/v1/telephony/twilio/text", form)


def link_of(person: Person) -> str:
    found = re.search(r"https?://\S+/r/[\w-]{43}", person.phone.texts[-1].body)
    assert found is not None
    return found[0]


def code_of(person: Person) -> str:
    found = re.search(r"\b[1-9]\d{3}\b", person.phone.texts[-1].body.split("\n")[-1])
    assert found is not None, person.phone.texts[-1].body
    return found[0]


def american(stage: Stage, name: str, n: int, **more: Any) -> Person:
    return stage.person(name, number=AMERICAN.format(n), **more)


def rung(stage: Stage, *contacts: Person) -> Home:
    """A case in which everybody was rung and written to, and nobody has answered yet."""
    home = stage.home(*contacts)
    home.phone.rings_out()
    for contact in contacts:
        contact.phone.rings_out()
    stage.desk.rings_out()
    home.band.sos()
    stage.advance_until(lambda: all(c.phone.texts for c in contacts), within_s=300)
    return home


def web(stage: Stage, person: Person, login: str) -> Console:
    """This person at the page, logged in."""
    known = table(PersonRow)
    index, hashed = people.login_index(stage.house, login), people._passwords.hash("a password")
    with stage.database.write() as tx:
        tx.conn.execute(update(known).where(known.c.id == person.id).values(login_index=index, password_hash=hashed))
    return stage.log_in(person.id, login)


def test_exact_code_by_text_takes_it_like_key_three(stage: Stage) -> None:
    emma = american(stage, "Emma Kim", 1, language="en")
    home = rung(stage, emma)
    assert writes(stage, emma, f" {code_of(emma)}\n").status_code == 204
    case = stage.case(home)
    assert (case.acknowledged, case.owner_id) == (True, emma.id)
    [page] = [m for m in stage.outbox(home) if m.outcome == "reply_3"]
    assert page.channel == "text"


def test_full_width_digits_and_spaces_are_the_same_code(stage: Stage) -> None:
    emma = american(stage, "Emma Kim", 1, language="en")
    home = rung(stage, emma)
    wide = " ".join(chr(ord(digit) - ord("0") + ord("\uff10")) for digit in code_of(emma))
    writes(stage, emma, wide)
    assert stage.case(home).owner_id == emma.id


@pytest.mark.parametrize("body", ["ok", "네", "I drive, will answer later.", "3", "{code}!", "my code is {code}", ""])
def test_anything_but_the_exact_code_takes_nothing_and_is_answered_with_nothing(stage: Stage, body: str) -> None:
    emma = american(stage, "Emma Kim", 1, language="en")
    home = rung(stage, emma)
    before = len(emma.phone.texts)
    answer = writes(stage, emma, body.format(code=code_of(emma)))
    assert (answer.status_code, answer.content) == (204, b"")
    assert not stage.case(home).acknowledged
    assert len(emma.phone.texts) == before
    assert stage.log(home).count("noted") == (1 if body else 0)


def test_code_from_another_number_takes_nothing(stage: Stage) -> None:
    emma, stranger = american(stage, "Emma Kim", 1, language="en"), american(stage, "Ray Sutton", 2, language="en")
    home = rung(stage, emma)
    writes(stage, stranger, code_of(emma))
    assert not stage.case(home).acknowledged


def test_code_of_a_case_that_is_over_takes_nothing(stage: Stage) -> None:
    emma = american(stage, "Emma Kim", 1, language="en")
    home = rung(stage, emma)
    code = code_of(emma)
    dispatcher = stage.staff("이서연", "dispatcher")
    dispatcher.act(stage.incidents(home)[0].id, "close", reason="test")
    assert writes(stage, emma, code).status_code == 204
    assert stage.case(home).owner_id != emma.id


def test_code_told_twice_does_not_take_back_what_was_given_up(stage: Stage) -> None:
    emma = american(stage, "Emma Kim", 1, language="en")
    home = rung(stage, emma)
    code = code_of(emma)
    writes(stage, emma, code)
    stage.settle()
    emma.phone.rings_us("4")
    assert not stage.case(home).acknowledged
    writes(stage, emma, code)
    assert not stage.case(home).acknowledged


def test_no_code_is_sent_where_texts_cannot_be_answered(stage: Stage) -> None:
    daughter = stage.person("김민지")
    rung(stage, daughter)
    body = daughter.phone.texts[-1].body
    assert "/r/" in body
    assert "회신" not in body


def test_caregiver_takes_it_on_the_page_and_says_when(stage: Stage) -> None:
    daughter, son = stage.person("김민지"), stage.person("김도윤")
    home = rung(stage, daughter, son)
    page = web(stage, daughter, "minji")
    [row] = stage.incidents(home)
    assert "제가 맡을게요" in page.get(f"/patients/{home.id}").text
    assert page.act(row.id, "acknowledge").status_code == 204
    assert page.act(row.id, "going", eta_min="20").status_code == 204
    shown = page.get(f"/patients/{home.id}").text
    assert "도착 예정" in shown
    assert stage.case(home).going.person_id == daughter.id
    assert web(stage, son, "doyun").act(row.id, "acknowledge").json()["code"] == "already_taken"
    assert page.act(row.id, "arrived").status_code == 204
    assert page.act(row.id, "safe").status_code == 204
    assert stage.case(home).state == "closed"


def test_caregiver_of_somebody_else_and_a_wrong_time_are_refused(stage: Stage) -> None:
    daughter, stranger = stage.person("김민지"), stage.person("나그네")
    home = rung(stage, daughter)
    stage.home(stranger, name="박영호")
    [row] = stage.incidents(home)
    for action in ("acknowledge", "decline", "going", "arrived", "safe"):
        assert web(stage, stranger, f"stranger-{action}").act(row.id, action, eta_min="10").status_code == 403
    page = web(stage, daughter, "minji")
    for wrong in ("0", "121", "soon", "-5", ""):
        assert page.act(row.id, "going", eta_min=wrong).status_code == 422
    assert not stage.case(home).acknowledged


@both_engines
def test_four_doors_at_the_same_instant_give_one_owner(stage: Stage) -> None:
    for turn in range(3):
        n = 10 * turn
        by_key, by_text = american(stage, f"키{turn}", n + 1), american(stage, f"문자{turn}", n + 2)
        by_link, by_web = american(stage, f"링크{turn}", n + 3), american(stage, f"화면{turn}", n + 4)
        home = rung(stage, by_key, by_text, by_link, by_web)
        [row] = stage.incidents(home)
        page = web(stage, by_web, f"web{turn}")
        [call] = [m for m in stage.outbox(home) if (m.target_id, m.channel, m.attempt) == (by_key.id, "voice", 1)]
        link, code = link_of(by_link), code_of(by_text)
        start, answers = threading.Barrier(4), {}

        def key(call: Any = call) -> requests.Response:
            return says(stage, f"/v1/telephony/twilio/digits/{call.id}?turn=1", {"CallSid": "CA9", "Digits": "3"})

        doors = {
            by_key.id: key,
            by_text.id: lambda person=by_text, code=code: writes(stage, person, code),
            by_link.id: lambda link=link: requests.post(link, data={"action": "acknowledge"}, timeout=20),
            by_web.id: lambda page=page, row=row: page.act(row.id, "acknowledge"),
        }

        def go(who: Any, door: Any, start: Any = start, answers: Any = answers) -> None:
            start.wait()
            answers[who] = door()

        threads = [threading.Thread(target=go, args=pair) for pair in doors.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        owner = stage.case(home).owner_id
        assert owner in doors
        assert (stage.log(home).count("acknowledged"), stage.log(home).count("already_taken")) == (1, 3)
        told = "이미" in answers[by_key.id].content.decode()
        assert told == (owner != by_key.id)
        assert answers[by_link.id].status_code == (200 if owner == by_link.id else 409)
        assert answers[by_web.id].status_code == (204 if owner == by_web.id else 409)
        stage.advance(5)
        for person in (by_key, by_text, by_link, by_web):
            taken = any(messages.text_for("taken", "ko", {"role": "caregiver"}) == t.body for t in person.phone.texts)
            assert taken == (person.id != owner)
        assert page.act(row.id, "note", text="x").status_code == 403
        stage.staff(f"관제{turn}", "dispatcher", login=f"desk{turn}").act(row.id, "close", reason="test")
        stage.settle()


def test_link_of_the_first_try_works_when_it_was_sent_twice(stage: Stage) -> None:
    daughter = stage.person("김민지")
    home = rung(stage, daughter)
    with stage.database.read() as tx:
        [row] = [m for m in stage.outbox(home) if m.channel == "text" and m.step == "contact"]
        assert link_of(daughter).endswith(links.token(stage.house, row.id, daughter.id))
        assert links.read(stage.house, tx, link_of(daughter).rpartition("/")[2]) is not None
