"""What a newcomer sees after `make run`: everything starts, somebody is rung, Ctrl-C stops all of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import datetime
from urllib.parse import urlsplit

import pytest
import requests

START_MOST_S = 120.0
SHOWN_MOST_S = 60.0
ORPHANS_MOST_S = 20.0


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    begun = begin(tmp_path_factory.mktemp("demo"))
    yield begun
    if begun["process"].poll() is None:
        os.killpg(begun["process"].pid, signal.SIGKILL)


def begin(folder):
    """A demonstration of its own in this folder, once it says that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "service.cli", "demo"],
        env=os.environ | {"ANSIM_DATA_DIR": str(folder / "data"), "ANSIM_PORT": str(free_port())},
        stdout=subprocess.PIPE,
        stderr=(folder / "log").open("w"),
        text=True,
        start_new_session=True,
    )
    ready = None
    deadline = time.monotonic() + START_MOST_S
    for line in process.stdout:
        if line.startswith("ANSIM_READY "):
            ready = json.loads(line.removeprefix("ANSIM_READY "))
            break
        if time.monotonic() > deadline:
            break
    if ready is None:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail("no ANSIM_READY line:\n" + (folder / "log").read_text()[-3000:])
    ready["process"], ready["folder"] = process, folder
    return ready


def wait_for(look, most_s):
    deadline = time.monotonic() + most_s
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.5)
    pytest.fail(f"not seen within {most_s} s")


def incidents(demo):
    headers = {"Authorization": f"Bearer {demo['service_key']}"}
    answer = requests.get(f"{demo['url']}/v1/incidents?language=ko", headers=headers, timeout=10)
    answer.raise_for_status()
    return answer.json()["incidents"]


def test_the_run_file_says_how_to_reach_everything(demo):
    told = json.loads((demo["folder"] / "data" / "run.json").read_text())
    assert told["url"] == demo["url"]
    assert {one["role"] for one in told["logins"]} >= {"caregiver", "dispatcher", "operator"}
    assert requests.get(f"{told['url']}/readyz", timeout=5).status_code == 200
    assert requests.get(f"{told['carrier_url']}/_calls", timeout=5).status_code == 200


def test_the_person_then_a_contact_is_rung_and_the_key_press_is_on_the_record(demo):
    def taken():
        done = {"answered_help", "acknowledged"}
        return next((i for i in incidents(demo) if done <= {line["what"] for line in i["log"]}), None)

    incident = wait_for(taken, SHOWN_MOST_S)
    what = [line["what"] for line in incident["log"]]
    assert what.index("asked") < what.index("answered_help") < what.index("contact_rung") < what.index("acknowledged")
    moments = [datetime.fromisoformat(line["at"]) for line in incident["log"]]
    assert moments == sorted(moments)
    times = {name: datetime.fromisoformat(at) for name, at in incident["times"].items()}
    assert times["received_at"] <= times["check_started_at"] <= times["check_ended_at"] <= times["acknowledged_at"]
    elapsed = (times["acknowledged_at"] - times["received_at"]).total_seconds()
    assert incident["intervals_s"]["received_to_acknowledged_s"] == pytest.approx(elapsed)
    calls = requests.get(f"{demo['carrier_url']}/_calls", timeout=5).json()
    rung = [(call["to"], call["pressed"]) for call in calls]
    assert ("+821055500101", ["2"]) in rung
    assert ("+821055500112", ["3"]) in rung
    assert [to for to, _ in rung].index("+821055500101") < [to for to, _ in rung].index("+821055500112")
    assert incident["simulated"] is True


def test_a_part_that_is_killed_is_started_again_and_says_so(demo):
    assert demo["process"].poll() is None, (demo["folder"] / "log").read_text()[-3000:]
    before = wait_for(lambda: next(iter(parts_of(demo, "jobs")), None), 20)
    os.kill(before, signal.SIGKILL)
    after = wait_for(lambda: next((pid for pid in parts_of(demo, "jobs") if pid != before), None), 20)
    assert demo["process"].poll() is None
    assert "jobs was killed by signal 9; it was started again" in (demo["folder"] / "log").read_text()
    wait_for(lambda: requests.get(f"{demo['url']}/readyz", timeout=5).status_code == 200, 30)
    assert part_of(demo, "jobs") == after


def parts_of(demo, name):
    """Process numbers of the demonstration's own children that run this command."""
    parent = str(demo["process"].pid)
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", parent], capture_output=True, text=True, check=False
    ).stdout.splitlines()
    found = [line.split(maxsplit=1) for line in listed]
    return [int(pid) for pid, args in found if args.endswith(f"service.cli {name}")]


def part_of(demo, name):
    (pid,) = parts_of(demo, name)
    return pid


@pytest.mark.parametrize(("setting", "door"), [("ANSIM_PORT", "url"), ("ANSIM_LOOPBACK_PORT", "carrier_url")])
def test_a_second_one_on_a_port_in_use_refuses_before_it_wipes_anything(demo, setting, door):
    port = str(urlsplit(demo[door]).port)
    said = refused_beside(demo, **{setting: port})
    assert f"{setting} must be a port that nobody listens on" in said and f"was {port}" in said
    assert "choose another port" in said


def test_a_second_one_in_the_same_folder_refuses_although_its_ports_are_free(demo):
    said = refused_beside(demo)
    assert "ANSIM_DATA_DIR must be a folder where no demonstration is running" in said
    assert f"was {demo['folder'] / 'data'}" in said and "choose another folder" in said


def refused_beside(demo, **settings):
    """What a second demonstration with these settings says when it refuses; the first runs on untouched."""
    data = demo["folder"] / "data"
    told = (data / "run.json").read_text()
    second = subprocess.run(
        [sys.executable, "-m", "service.cli", "demo"],
        env=os.environ | {"ANSIM_DATA_DIR": str(data), "ANSIM_PORT": str(free_port())} | settings,
        capture_output=True,
        text=True,
        timeout=START_MOST_S,
        check=False,
    )
    assert second.returncode == 3
    assert second.stdout == ""
    assert (data / "run.json").read_text() == told
    assert demo["process"].poll() is None
    assert isinstance(incidents(demo), list)
    (said,) = second.stderr.splitlines()
    return said


def test_ctrl_c_stops_every_process_cleanly(demo):
    process = demo["process"]
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=30) == 0
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{demo['url']}/healthz", timeout=2)


def test_killing_the_demonstration_itself_leaves_nothing_running(tmp_path):
    begun = begin(tmp_path)
    group = begun["process"].pid
    assert len(alive_in(group)) >= 5
    begun["process"].kill()
    begun["process"].wait(timeout=10)
    try:
        wait_for(lambda: not alive_in(group), ORPHANS_MOST_S)
    finally:
        for pid in alive_in(group):
            os.kill(pid, signal.SIGKILL)


def alive_in(group):
    """Process numbers of this group; what has ended and was only not yet fetched does not count."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,pgid=,stat="], capture_output=True, text=True, check=True).stdout
    found = [line.split() for line in listed.splitlines()]
    return [int(pid) for pid, one, state in found if int(one) == group and not state.startswith("Z")]
