"""Who may see whom, and that every look is on the record."""

from __future__ import annotations

import threading

from journey_marks import both_engines
from journey_people import Console, Home
from journey_stage import Stage
from sqlalchemy import select

from service.store.tables import AccessLog, table

_ACCESS = table(AccessLog)


def looks(stage: Stage, home: Home, console: Console) -> list[str]:
    query = select(_ACCESS.c.purpose).where(
        _ACCESS.c.patient_id == home.id, _ACCESS.c.viewer_id == console.person_id
    )
    return [row.purpose for row in stage.rows(query)]


@both_engines
def test_caregiver_sees_only_those_linked_to_them(stage: Stage) -> None:
    home, other = stage.home(), stage.home(name="박영호")
    own, stranger = stage.caregiver("김민지", "own", home), stage.caregiver("박서준", "stranger", other)
    home.band.measures()
    status = f"/v1/patients/{home.id}/status"
    assert own.get(status).json()["word"] == "well"
    assert own.get("/patients").status_code == 200
    assert own.get(f"/patients/{home.id}").status_code == 200
    assert [p["id"] for p in own.get("/v1/patients").json()["patients"]] == [str(home.id)]

    observations = f"/v1/patients/{home.id}/observations"
    for console in (stranger, stage.staff("강태호", "operator")):
        assert console.get(status).status_code == 403
        assert console.get(observations, vital="spo2_pct").status_code == 403
        assert console.get(f"/patients/{home.id}").status_code == 403
        assert looks(stage, home, console) == []
    assert str(home.id) not in stranger.get("/v1/patients").text
    assert "김순자" not in stranger.get("/patients").text
    assert looks(stage, home, own) == ["status", "overview", "patient"]


@both_engines
def test_dispatcher_sees_vital_signs_only_while_a_case_is_open(stage: Stage) -> None:
    home = stage.home()
    stage.desk.rings_out()
    dispatcher = stage.staff("이서연", "dispatcher")
    home.band.measures()
    paths = [f"/v1/patients/{home.id}/status", f"/v1/patients/{home.id}/observations?vital=spo2_pct"]
    assert [dispatcher.get(path).status_code for path in paths] == [403, 403]
    home.band.sos()
    [row] = stage.incidents(home)
    assert [dispatcher.get(path).status_code for path in paths] == [200, 200]
    page = f"/incidents/{row.id}"
    assert "97" in dispatcher.get(page).text
    assert dispatcher.act(row.id, "close", reason="test").status_code == 200
    assert [dispatcher.get(path).status_code for path in paths] == [403, 403]
    assert dispatcher.get(page).status_code == 200
    assert {"status", "observations:spo2_pct", "incident", "action:close"} == set(looks(stage, home, dispatcher))


def test_whoever_acts_on_a_case_is_on_the_record_once_and_nothing_is_done_in_a_language_we_lack(stage: Stage) -> None:
    home = stage.home()
    stage.desk.rings_out()
    dispatcher = stage.staff("이서연", "dispatcher")
    home.band.sos()
    [row] = stage.incidents(home)
    refused = dispatcher.act(row.id, "acknowledge?language=fr")
    assert (refused.status_code, refused.json()["code"]) == (422, "language_unknown")
    assert looks(stage, home, dispatcher) == []
    assert not stage.incidents(home)[0].acknowledged
    assert dispatcher.act(row.id, "acknowledge").json()["acknowledged"]
    assert looks(stage, home, dispatcher) == ["action:acknowledge"]
    assert dispatcher.act(row.id, "hand_over?language=fr", to="119").json()["code"] == "language_unknown"
    assert dispatcher.act(row.id, "hand_over", to="119").json()["acknowledged"]
    assert looks(stage, home, dispatcher) == ["action:acknowledge", "action:hand_over"]


def test_caregiver_may_not_act_on_a_case_nor_see_the_board(stage: Stage) -> None:
    home = stage.home()
    stage.desk.rings_out()
    own = stage.caregiver("김민지", "own", home)
    home.band.sos()
    [row] = stage.incidents(home)
    assert own.act(row.id, "close", reason="test").status_code == 403
    assert own.get("/board").status_code == 403
    assert own.get(f"/incidents/{row.id}").status_code == 403
    assert own.get("/v1/incidents").status_code == 403
    assert stage.case(home).open


def test_action_without_the_sessions_token_is_refused(stage: Stage) -> None:
    home = stage.home()
    stage.desk.rings_out()
    dispatcher = stage.staff("이서연", "dispatcher")
    home.band.sos()
    del dispatcher.session.headers["X-CSRF-Token"]
    refused = dispatcher.act(stage.incidents(home)[0].id, "acknowledge")
    assert (refused.status_code, refused.json()["code"]) == (403, "csrf_missing")
    assert not stage.case(home).acknowledged


def test_dispatcher_of_another_organisation_sees_and_does_nothing(stage: Stage) -> None:
    home = stage.home()
    stage.desk.rings_out()
    home.band.sos()
    [row] = stage.incidents(home)
    stage.organisation_id = stage.another_organisation()
    elsewhere = stage.staff("남남북", "dispatcher")
    assert elsewhere.get("/v1/incidents").json()["incidents"] == []
    assert elsewhere.get(f"/v1/incidents/{row.id}").status_code == 403
    assert elsewhere.get(f"/v1/patients/{home.id}/status").status_code == 403
    assert elsewhere.act(row.id, "acknowledge").status_code == 403


def test_page_that_refreshes_itself_is_one_look(stage: Stage) -> None:
    home = stage.home()
    own = stage.caregiver("김민지", "own", home)
    for _ in range(5):
        assert own.get(f"/patients/{home.id}").status_code == 200
    assert looks(stage, home, own) == ["patient"]
    stage.advance(301)
    assert own.get(f"/patients/{home.id}").status_code == 200
    assert looks(stage, home, own) == ["patient", "patient"]
    stage.watch.access_chain()


class Stream:
    """Reads a console's live stream from its beginning until somebody's event with a given id came."""

    def __init__(self, console: Console, until: object) -> None:
        self.text, self._until = "", str(until)
        self._response = console.session.get(f"{console.url}/v1/events?after=0", stream=True, timeout=20)
        assert self._response.status_code == 200
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._response.iter_lines(chunk_size=1):
            self.text += line.decode() + "\n"
            if self._until in self.text:
                return

    def heard(self) -> str:
        """All that came, once what was waited for is there."""
        self._thread.join(timeout=20)
        assert not self._thread.is_alive(), f"never came: {self._until}"
        self._response.close()
        return self.text


def test_strangers_live_stream_shows_nothing_of_others(stage: Stage) -> None:
    home, other = stage.home(), stage.home(name="박영호")
    stage.desk.rings_out()
    stranger, dispatcher = stage.caregiver("박서준", "stranger", other), stage.staff("이서연", "dispatcher")
    home.band.sos()
    other.band.sos()
    seen = Stream(stranger, stage.incidents(other)[0].id).heard()
    assert str(home.id) not in seen
    assert str(stage.incidents(home)[0].id) not in seen
    everything = Stream(dispatcher, stage.incidents(other)[0].id).heard()
    assert str(stage.incidents(home)[0].id) in everything
    for secret in ("김순자", "행복빌라", "sos"):
        assert secret not in everything
