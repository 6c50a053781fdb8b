"""A process that is told to stop does, whatever it was doing at that moment."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from service.stopping import Stop

ROOT = Path(__file__).parents[2]
TOLD_AT_EVERY_LINE = """
import signal, sys, threading
from service import stopping

stopping.LOOK_S = 0.001

def told_at(number):
    stop, seen = stopping.Stop(), [0]

    def look(frame, event, _arg):
        if event == "line" and frame.f_code.co_filename in {stopping.__file__, threading.__file__}:
            seen[0] += 1
            if seen[0] == number:
                signal.raise_signal(signal.SIGTERM)
        return look

    sys.settrace(look)
    stop.wait(0.02)
    sys.settrace(None)
    return seen[0] >= number, stop.is_set()

number = 1
while (reached := told_at(number))[0] and number < 200:
    assert reached[1], number
    number += 1
print(number)
"""


def test_whoever_is_told_in_the_middle_of_beginning_to_wait_stops() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOLD_AT_EVERY_LINE], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 5


def test_a_wait_ends_at_its_time_when_nobody_tells(monkeypatch) -> None:
    monkeypatch.setattr("signal.signal", lambda *_given: None)
    began = time.monotonic()
    assert Stop().wait(0.05) is False
    assert 0.05 <= time.monotonic() - began < 30
