"""Types that many threads decode at once, first thing after a start, end no process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DECODE = """
import sys, threading
import msgspec
import service.jobs
from dispatch.drill import Drill
from dispatch.incident import Incident
from service import app
from service.workflows.people import Profile

app.read_types_in()
sys.setswitchinterval(1e-5)
kinds = {kind: [msgspec.msgpack.encode({name: None}) for name in reversed(kind.__struct_fields__)]
         for kind in (Incident, Drill, Profile)}
together = threading.Barrier(8)

def decode():
    together.wait()
    for kind, packed in kinds.items():
        for one in packed:
            try:
                msgspec.msgpack.decode(one, type=kind)
            except msgspec.ValidationError:
                pass

threads = [threading.Thread(target=decode) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("alive")
"""


def test_many_threads_that_decode_a_type_for_the_first_time_end_no_process() -> None:
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", DECODE], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
        )
        assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
