"""A machine's client of a running service: people and codes by service key, incidents as they become visible."""

from __future__ import annotations

import threading
import time
from typing import Any

import msgspec
import requests

from service.tools.doctor import NotReady

TIMEOUT_S = 30.0
BEAT_MOST_S = 10.0
AGAIN_S = 0.5


class Machine:
    """Asks with one service key; every refusal ends with a sentence."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"}
        self._local = threading.local()

    def session(self) -> requests.Session:
        """This thread's connections."""
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
        session: requests.Session = self._local.session
        return session

    def add_patient(self, name: str, district_code: str) -> str:
        """A simulated person; returns the id."""
        wanted = {"name": name, "district_code": district_code, "simulated": True}
        return str(self._ask("POST", "/v1/patients", json=wanted)["id"])

    def issue_code(self, patient_id: str) -> str:
        return str(self._ask("POST", f"/v1/patients/{patient_id}/enrolment-codes")["code"])

    def conditions(self, patient_id: str) -> list[dict[str, Any]]:
        """Every condition found, in order of detection."""
        found = self._ask("GET", f"/v1/patients/{patient_id}/alarm-conditions")["conditions"]
        return sorted(found, key=lambda one: str(one["detected_at"]))

    def incident(self, incident_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self._ask("GET", f"/v1/incidents/{incident_id}")
        return found

    def _ask(self, method: str, path: str, **given: Any) -> Any:
        try:
            response = self.session().request(
                method, self.url + path, headers=self._headers, timeout=TIMEOUT_S, **given
            )
        except requests.RequestException as error:
            raise NotReady(f"{self.url} does not answer ({type(error).__name__}): is Ansim running there?") from error
        if response.status_code >= 400:
            raise NotReady(f"{method} {path} was refused with {response.status_code}: {_why(response)}")
        return response.json()

    def events(self) -> requests.Response:
        """The live stream of incidents and conditions."""
        return requests.get(
            f"{self.url}/v1/events", headers=self._headers, stream=True, timeout=(TIMEOUT_S, BEAT_MOST_S)
        )


def _why(response: requests.Response) -> str:
    try:
        said = response.json()
        return f"{said['code']}: {said['detail']}"
    except (ValueError, KeyError, TypeError):
        return response.text[:200]


class Watch:
    """Notes when each incident becomes visible, by listening to the live stream as a console does."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._seen: dict[str, float] = {}
        self._news = threading.Condition()
        self._stop = threading.Event()
        self._listening = threading.Event()
        threading.Thread(target=self._listen, name="watch", daemon=True).start()
        self._listening.wait(TIMEOUT_S)

    def seen_at(self, incident_id: str, within_s: float) -> float | None:
        """The monotonic time at which an incident was first visible, waiting for it a little."""
        with self._news:
            self._news.wait_for(lambda: incident_id in self._seen, within_s)
            return self._seen.get(incident_id)

    def close(self) -> None:
        self._stop.set()

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                with self._machine.events() as response:
                    response.raise_for_status()
                    for line in response.iter_lines(chunk_size=1):
                        self._listening.set()
                        self._note(line)
                        if self._stop.is_set():
                            return
            except requests.RequestException:
                # Without a stream the latencies are measured by asking, and come out longer.
                self._listening.set()
                self._stop.wait(AGAIN_S)

    def _note(self, line: bytes) -> None:
        if not line.startswith(b"data: "):
            return
        said = msgspec.json.decode(line[6:])
        incident_id = said.get("incident_id")
        if incident_id:
            with self._news:
                self._seen.setdefault(incident_id, time.monotonic())
                self._news.notify_all()
