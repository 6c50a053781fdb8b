"""The real service behind a real port, for the tests of its newer pages in a browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contacts_stage import case_with_contacts
from doors_stage import Stage, make_stage
from proof_stage import play
from werkzeug.serving import WSGIRequestHandler, make_server

from service.store import people as people_store

STAFF = ("operator", "dispatcher")


class Silent(WSGIRequestHandler):
    def log_request(self, *_args: Any, **_kwargs: Any) -> None:
        pass


@dataclass
class Site:
    """The real service with a case that is going on and one that was closed and signed."""

    stage: Stage
    url: str
    paths: dict[str, tuple[str, str]]
    """Name of a page to whose it is and where."""
    people: dict[str, Any]
    sessions: dict[str, str]

    def open(self, browser: Any, page: str, language: str = "ko") -> None:
        who, path = self.paths[page]
        self.sign_in(browser, who, language)
        browser.get(self.url + path)

    def sign_in(self, browser: Any, who: str, language: str = "ko") -> None:
        with self.stage.house.database.write() as tx:
            people_store.set_language(tx, self.people[who], language)
        browser.get(f"{self.url}/assets/favicon.svg")
        browser.delete_all_cookies()
        browser.add_cookie({"name": "ansim_session", "value": self.sessions[who], "path": "/"})


@contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    """A server with the real pages and doors, and somebody of each kind signed in."""
    stage = make_stage(folder, ANSIM_PUSH_LOOPBACK="yes")
    going_on = play(stage.folder, stage=stage, close=False, called=False)
    closed = play(stage.folder, stage=stage)
    patient_id = stage.patient("정만수", phone="+821055500105")
    people = {role: stage.person(role, login=role, name="강태호" if role == "operator" else "이서연") for role in STAFF}
    people["family"] = stage.person("caregiver", login="family", name="김하늘", patient_id=patient_id)
    sessions = {}
    for who in people:
        cookie = stage.logged_in(who)[0].get_cookie("ansim_session")
        assert cookie is not None
        sessions[who] = cookie.value
    contacts = case_with_contacts(stage)
    paths = {
        "policies": ("operator", "/policies"),
        "policy": ("operator", "/policies/edit?scope=organisation"),
        "reach": ("operator", "/reach"),
        "handover": ("dispatcher", f"/incidents/{going_on.incident_id}/handover"),
        "incident": ("dispatcher", f"/incidents/{contacts}"),
        "proof": ("dispatcher", f"/incidents/{closed.incident_id}/proof"),
        "board": ("dispatcher", "/board"),
        "numbers": ("family", f"/patients/{patient_id}/numbers"),
        "family": ("family", f"/patients/{patient_id}"),
    }
    server = make_server("127.0.0.1", 0, stage.app, threaded=True, request_handler=Silent)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield Site(stage, f"http://127.0.0.1:{server.server_port}", paths, people, sessions)
    server.shutdown()
    stage.house.database.dispose()
