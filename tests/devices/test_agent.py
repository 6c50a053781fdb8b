"""The gateway agent against a small service that judges uploads with the real parser."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from devices.agent import Agent, AgentError
from devices.backlog import Backlog
from devices.reading import EventKind, parse
from devices.signatures import public_key_from_jwk, read, verify

REPOSITORY = Path(__file__).parents[2]


class Clock:
    """A clock that only moves when told to, or when somebody sleeps on it."""

    def __init__(self):
        self.at = datetime(2026, 5, 1, 3, 0, tzinfo=UTC)
        self.slept = []

    def now(self):
        return self.at

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.at += timedelta(seconds=seconds)


class Service:
    """Answers enrolments and uploads; ``script`` holds what to do instead with the next requests."""

    def __init__(self, clock):
        self.clock, self.script, self.uploads, self.keys = clock, [], [], {}
        self.extra, self.known = {}, {}
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, headers, answer = service.answer(self.path, dict(self.headers), body)
                if status is None:
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(answer))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, path, headers, body):
        if path == "/v1/devices/enrol":
            asked = json.loads(body)
            if asked["code"] != "1234":
                return 401, {}, b'{"code": "code_unknown"}'
            self.keys["key-1"] = public_key_from_jwk(asked["public_key"])
            return 201, {}, b'{"device_id": "device-1", "keyid": "key-1"}'
        claims = read(headers)
        verify(
            claims,
            self.keys[claims.keyid],
            method="POST",
            path=path,
            authority=headers["Host"],
            content_type=headers["Content-Type"],
            body=body,
        )
        upload = json.loads(body)
        self.uploads.append(upload)
        step = self.script.pop(0) if self.script else None
        if step == "lose the request":
            return None, {}, b""
        if isinstance(step, tuple):
            return step
        answer = 200, {}, self.judge(upload, body)
        return (None, {}, b"") if step == "lose the answer" else answer

    def judge(self, upload, body):
        parsed = parse(body, int(self.clock.now().timestamp() * 1e6))
        for seq, content in parsed.batch.contents().items():
            before = self.known.setdefault((upload["boot_id"], seq), content)
            if before != content:
                parsed.verdicts.conflict(seq)
        verdicts = msgspec.to_builtins(parsed.verdicts.runs())
        return json.dumps({"upload_id": upload["upload_id"], "verdicts": verdicts, **self.extra}).encode()

    def seqs(self):
        return [[row["seq"] for row in upload["readings"]] for upload in self.uploads]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def service(clock):
    made = Service(clock)
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def agent(tmp_path, service, clock):
    made = open_agent(tmp_path, service, clock)
    made.enrol("1234", "test band")
    yield made
    made.close()


def open_agent(folder, service, clock):
    return Agent(folder, service.url, now=clock.now, sleep=clock.sleep, rng=random.Random(1))


def test_a_reading_is_sent_signed_and_deleted_by_its_verdict(agent, service):
    assert agent.record({"heart_rate_bpm": 70}) == 1
    done = agent.flush()
    assert (done.requests, done.settled, done.left, done.wait_s) == (1, 1, 0, None)
    assert service.uploads[0]["readings"][0]["at"] == "2026-05-01T03:00:00Z"


def test_a_rejected_reading_is_deleted_too(agent):
    agent.record({"heart_rate_bpm": 999})
    assert agent.flush().left == 0


def test_an_sos_goes_in_the_first_request_ahead_of_any_backlog(agent, service):
    for _ in range(2500):
        agent._backlog.put({"at": "2026-05-01T03:00:00Z", "heart_rate_bpm": 70}, urgent=False)
    agent.record_event(EventKind.SOS)
    assert agent.flush().left == 0
    assert [row.get("event") for row in service.uploads[0]["readings"]] == ["sos"]
    assert [len(upload["readings"]) for upload in service.uploads] == [1, 1000, 1000, 500]


def test_an_sos_overtakes_an_upload_that_waits_for_its_retry(agent, service, clock):
    service.script = [(503, {"Retry-After": "600"}, b"{}")]
    agent.record({"heart_rate_bpm": 70})
    assert 600 <= agent.flush().wait_s <= 750
    agent.record_event(EventKind.FALL)
    assert agent.flush().settled == 1
    assert service.uploads[1]["readings"][0]["event"] == "fall"
    assert agent.queued() == 1


def test_a_lost_answer_is_asked_for_again_with_the_same_upload(agent, service):
    service.script = ["lose the answer"]
    agent.record({"heart_rate_bpm": 70})
    assert agent.flush(patience_s=5).left == 0
    first, second = service.uploads
    assert first == second


def test_an_older_upload_is_built_anew_so_that_its_times_are_not_shifted(agent, service, clock):
    service.script = ["lose the request"]
    agent.record({"heart_rate_bpm": 70})
    agent.flush()
    clock.sleep(3600)
    assert agent.flush().left == 0
    first, second = service.uploads
    assert first["upload_id"] != second["upload_id"]
    assert second["sent_at"] == "2026-05-01T04:00:00Z"
    assert first["readings"] == second["readings"]


def test_retry_after_is_obeyed_with_jitter_in_seconds_and_as_a_date(agent, service, clock):
    later = format_datetime(clock.at + timedelta(seconds=90), usegmt=True)
    service.script = [(429, {"Retry-After": "30"}, b"{}"), (503, {"Retry-After": later}, b"{}")]
    agent.record({"heart_rate_bpm": 70})
    assert agent.flush(patience_s=300).left == 0
    assert 30 <= clock.slept[0] <= 37.5
    assert 45 <= clock.slept[1] <= 75


def test_an_urgent_event_never_waits_long_whatever_it_is_told(agent, service, clock):
    service.script = [(503, {"Retry-After": "3600"}, b"{}")]
    agent.record_event(EventKind.SOS)
    assert agent.flush().wait_s <= 5


def test_backoff_grows_while_nobody_answers(agent, service, clock):
    service.script = ["lose the request"] * 6
    agent.record({"heart_rate_bpm": 70})
    assert agent.flush(patience_s=600).left == 0
    assert clock.slept[-1] > 4 * clock.slept[0]


def test_a_clock_that_jumps_back_delays_nothing_beyond_the_wait_itself(agent, service, clock):
    service.script = [(503, {"Retry-After": "10"}, b"{}")]
    agent.record({"heart_rate_bpm": 70})
    agent.flush()
    clock.at -= timedelta(days=1)
    assert agent.flush().wait_s <= 12.5


def test_the_queue_the_counter_and_the_key_survive_a_restart(agent, service, clock, tmp_path):
    service.script = ["lose the request"]
    agent.record({"heart_rate_bpm": 70})
    agent.flush()
    boot_id = agent._backlog.boot_id
    agent.close()
    again = open_agent(tmp_path, service, clock)
    assert again.record({"heart_rate_bpm": 71}) == 2
    assert again._backlog.boot_id == boot_id
    assert again.flush().left == 0
    # The upload in flight is completed as it was, then the rest follows.
    assert service.seqs() == [[1], [1], [2]]
    again.close()


def test_nothing_recorded_is_lost_to_kill_9(tmp_path):
    program = (
        "import sys; from pathlib import Path; from devices.backlog import Backlog\n"
        "backlog = Backlog(Path(sys.argv[1]))\n"
        "while True: print(backlog.put({'heart_rate_bpm': 70}, urgent=False), flush=True)\n"
    )
    path = tmp_path / "agent.sqlite3"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        text=True,
    ) as child:
        told = [int(child.stdout.readline()) for _ in range(20)]
        os.kill(child.pid, signal.SIGKILL)
        told += [int(line) for line in child.stdout if line.endswith("\n")]
    backlog = Backlog(path)
    kept = [item.seq for item in backlog.waiting(False, 10_000)]
    assert kept[: len(told)] == told
    assert backlog.put({}, urgent=False) == kept[-1] + 1
    backlog.close()


def test_a_counter_reset_begins_a_new_boot_and_sends_the_old_one_first(agent, service):
    agent.record({"heart_rate_bpm": 70})
    agent.reset_counter()
    assert agent.record({"heart_rate_bpm": 71}) == 1
    assert agent.flush().left == 0
    first, second = service.uploads
    assert first["boot_id"] != second["boot_id"]
    assert first["readings"][0]["heart_rate_bpm"] == 70


def test_a_number_taken_by_other_content_is_sent_again_under_a_new_boot(agent, service):
    service.known[(str(agent._backlog.boot_id), 1)] = "something else"
    agent.record({"heart_rate_bpm": 70})
    assert agent.flush().left == 0
    assert [upload["readings"][0]["heart_rate_bpm"] for upload in service.uploads] == [70, 70]
    assert service.uploads[0]["boot_id"] != service.uploads[1]["boot_id"]


def test_a_refused_upload_is_halved_until_the_row_at_fault_stands_alone(agent, service):
    judge = service.judge

    def refuse(upload, body):
        poisoned = any("poison" in row for row in upload["readings"])
        return None if poisoned else judge(upload, body)

    def answer(path, headers, body):
        upload = json.loads(body)
        service.uploads.append(upload)
        judged = refuse(upload, body)
        return (422, {}, b'{"code": "bad"}') if judged is None else (200, {}, judged)

    service.answer = answer
    for i in range(8):
        agent.record({"heart_rate_bpm": 70} | ({"poison": 1} if i == 5 else {}))
    done = agent.flush()
    assert (done.settled, done.left) == (7, 1)
    assert agent.flush().requests == 0


def test_an_upload_id_that_was_taken_is_replaced(agent, service):
    service.script = [(409, {}, b'{"code": "upload_id_reused"}')]
    agent.record({"heart_rate_bpm": 70})
    assert agent.flush(patience_s=10).left == 0
    assert service.uploads[0]["upload_id"] != service.uploads[1]["upload_id"]


def test_rows_without_a_verdict_stay_queued(agent, service):
    service.script = [(200, {}, b'{"verdicts": []}'), (200, {}, b"<html>")]
    agent.record({"heart_rate_bpm": 70})
    assert agent.flush().left == 1
    assert agent.flush(patience_s=1).left == 1
    assert agent.flush(patience_s=10).left == 0


def test_ask_and_settings_are_obeyed_until_they_are_taken_back(agent, service, clock):
    service.extra = {"ask": {"id": "1", "text": "괜찮으세요?"}, "settings": {"upload_interval_s": 5}}
    assert agent.step() == 5
    assert agent.ask == {"id": "1", "text": "괜찮으세요?"}
    service.extra = {"settings": {"upload_interval_s": 300}}
    clock.sleep(5)
    assert agent.step() == 300
    assert agent.ask is None
    assert service.seqs() == [[], []]


def test_a_silly_polling_interval_is_bounded(agent, service):
    for asked, used in ((0, 1), (1e9, 3600), ("soon", 60), (True, 60)):
        agent.settings = {"upload_interval_s": asked}
        assert agent.upload_interval_s == used


def test_a_wrong_code_or_no_enrolment_needs_a_person(tmp_path, service, clock):
    agent = open_agent(tmp_path / "new", service, clock)
    with pytest.raises(AgentError) as caught:
        agent.enrol("0000", "test band")
    assert caught.value.code == "code_unknown"
    agent.record({"heart_rate_bpm": 70})
    with pytest.raises(AgentError) as caught:
        agent.flush()
    assert (caught.value.code, agent.queued()) == ("not_enrolled", 1)
    agent.close()


def test_the_key_file_is_for_its_owner_only(agent, tmp_path):
    assert (tmp_path / "agent.sqlite3").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("row", "said"), [({"heart_rate_bpm": float("nan")}, "JSON"), ({"place": "x" * 70_000}, "split it")]
)
def test_a_row_that_could_never_be_sent_is_refused_at_once(agent, row, said):
    with pytest.raises(ValueError, match=said):
        agent.record(row)
    assert agent.queued() == 0
