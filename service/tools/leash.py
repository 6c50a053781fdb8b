"""``python -m service.tools.leash MODULE WORDS``: a module that stops once whoever started it is gone, even killed."""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

GRACE_S = 8.0
STANDARD_INPUT = 0
GIVEN_UP = 3


def main() -> None:
    """Run the module as if it had been started itself, with a watcher beside it."""
    threading.Thread(target=_stop_when_alone, name="leash", daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _stop_when_alone() -> None:
    """Only the parent holds the other end of standard input: it closes however the parent ends."""
    while os.read(STANDARD_INPUT, 1024):
        continue
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(GIVEN_UP)


if __name__ == "__main__":
    main()
