"""``python -m service.tools.torture.nursery MODULE:FUNCTION``: imports a command once, and forks it on request.

A service that is killed a thousand times an hour would spend most of two cores on importing. A fork begins where the
import ends: no connection, thread or key is older than the fork, so what is killed and what is started again is a
whole process all the same.

Requests come on standard input, a JSON line each, and are answered on standard output:
``{"words": [...], "environ": {...}, "log": PATH, "file_most": BYTES | null}`` with ``{"pid": N}``,
``{"reap": PID}`` (after killing it) with ``{"status": N}``.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

STANDARD_INPUT, STANDARD_OUTPUT, STANDARD_ERROR = 0, 1, 2
FAILED = 3


def main(target: str) -> int:
    """Serve until standard input ends, which it does when whoever started this is gone."""
    module, _, name = target.partition(":")
    command = getattr(importlib.import_module(module), name)
    # What is shared with the children stays shared: a collection would touch, and so copy, every page.
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _say({"ready": True})
    living: set[int] = set()
    for line in sys.stdin:
        _say(_answer(command, json.loads(line), living))
    for pid in living:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    return 0


def _answer(command: Callable[[list[str]], int], wish: Mapping[str, Any], living: set[int]) -> dict[str, int]:
    if "reap" in wish:
        living.discard(int(wish["reap"]))
        try:
            return {"status": os.waitpid(int(wish["reap"]), 0)[1]}
        except ChildProcessError:
            return {"status": -1}
    pid = os.fork()
    if pid == 0:
        _live(command, wish)
    living.add(pid)
    return {"pid": pid}


def _live(command: Callable[[list[str]], int], wish: Mapping[str, Any]) -> None:
    """Be the command, in a process group of its own so that a kill takes its workers along; never returns."""
    code = FAILED
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        log = os.open(wish["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for here, there in ((nothing, STANDARD_INPUT), (log, STANDARD_OUTPUT), (log, STANDARD_ERROR)):
            os.dup2(here, there)
        os.environ.clear()
        os.environ.update(wish["environ"])
        if wish["file_most"] is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (wish["file_most"], resource.RLIM_INFINITY))
        code = command(list(wish["words"]))
    finally:
        sys.stderr.flush()
        os._exit(code)


def _say(answer: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
