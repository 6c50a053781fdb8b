"""What looks after the demonstration's parts: a killed one comes back, one that cannot run does not for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.tools.supervisor import ENDS_MOST, WITHIN_S, Supervisor

SLEEPS = [sys.executable, "-c", "import time; time.sleep(60)"]
ENDS = [sys.executable, "-c", "raise SystemExit(4)"]


def begin(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(words, text=True)


def test_a_killed_part_is_started_again_in_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    parts: list[subprocess.Popen[str]] = []
    supervisor = Supervisor(parts)
    supervisor.keep("jobs", lambda: begin(SLEEPS))
    first = parts[0]
    assert supervisor.look(0.0)
    assert parts == [first]
    first.kill()
    first.wait()
    assert supervisor.look(1.0)
    assert parts != [first] and parts[0].poll() is None
    assert capsys.readouterr().err == "ansim: jobs was killed by signal 9; it was started again\n"
    parts[0].kill()
    parts[0].wait()


def test_what_a_killed_part_leaves_behind_is_ended_too() -> None:
    if not Path("/proc/self/task").exists():
        pytest.skip("this system does not tell a process's children")
    supervisor = Supervisor([])
    code = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    supervisor.keep("serve", lambda: begin([sys.executable, "-c", f"{code}; time.sleep(60)"]))
    deadline = time.monotonic() + 20
    while not supervisor.kept[0].children and time.monotonic() < deadline:
        assert supervisor.look(0.0)
    [left] = supervisor.kept[0].children
    supervisor.parts[0].kill()
    supervisor.parts[0].wait()
    assert supervisor.look(1.0)
    deadline = time.monotonic() + 20
    while alive(left) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(left)
    while not supervisor.kept[0].children and time.monotonic() < deadline:
        assert supervisor.look(2.0)
    for pid in (supervisor.parts[0].pid, *supervisor.kept[0].children):
        os.kill(pid, signal.SIGKILL)
    supervisor.parts[0].wait()


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_part_that_keeps_ending_ends_the_demonstration(capsys: pytest.CaptureFixture[str]) -> None:
    supervisor = Supervisor([])
    supervisor.keep("serve", lambda: begin(ENDS))
    for n in range(ENDS_MOST):
        supervisor.parts[0].wait()
        assert supervisor.look(float(n))
    supervisor.parts[0].wait()
    assert not supervisor.look(float(ENDS_MOST))
    assert "serve ended with 4, again and again; stopping" in capsys.readouterr().err


def test_a_part_that_ends_now_and_then_is_always_started_again() -> None:
    supervisor = Supervisor([])
    supervisor.keep("jobs", lambda: begin(ENDS))
    for n in range(2 * ENDS_MOST):
        supervisor.parts[0].wait()
        assert supervisor.look(n * WITHIN_S)
    supervisor.parts[0].wait()
