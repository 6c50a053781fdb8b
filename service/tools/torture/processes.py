"""The service's own processes under torture: started, killed, started again, and kept from writing."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import requests

from service.tools.doctor import NotReady
from service.tools.load import descendants

WEB, JOBS = "serve", "jobs"
PARTS = (WEB, JOBS)
UP_MOST_S = 60.0
LOOK_S = 0.05


class Nursery:
    """Forks the service's commands from a process that has imported them already."""

    def __init__(self, environ: dict[str, str], log: Path) -> None:
        self._environ, self._log = environ, log
        self._turn = threading.Lock()
        words = [sys.executable, "-m", "service.tools.torture.nursery", "service.cli:main"]
        self._process = subprocess.Popen(
            words, env=environ, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        self._read()

    def start(self, name: str, file_most: int | None) -> int:
        wish = {"words": [name], "environ": self._environ, "log": str(self._log), "file_most": file_most}
        return int(self._ask(wish)["pid"])

    def reap(self, pid: int) -> None:
        self._ask({"reap": pid})

    def _ask(self, wish: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None  # noqa: S101 - asked for above
        with self._turn:
            self._process.stdin.write(json.dumps(wish) + "\n")
            self._process.stdin.flush()
            return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101 - asked for above
        line = self._process.stdout.readline()
        if not line:
            raise NotReady("the process that starts the service ended; see the lines above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        # Its standard input having ended, it takes with it what it began.
        self._process.wait(timeout=UP_MOST_S)


class Parts:
    """Web and jobs. Whatever ends by itself is written down and started again, as any supervisor would."""

    def __init__(self, nursery: Nursery, url: str) -> None:
        self._nursery, self._url = nursery, url
        self._running: dict[str, int] = {}
        self._changing = threading.RLock()
        self._file_most: int | None = None
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self.up_since: dict[str, float] = {}
        self.kills: Counter[str] = Counter()
        self.died: Counter[str] = Counter()
        """Parts that ended without being killed by us."""

    def start(self) -> None:
        with self._changing:
            for name in PARTS:
                self._start(name)
        self.wait_until_serving()
        self._keeper.start()

    def _start(self, name: str) -> None:
        self._running[name] = self._nursery.start(name, self._file_most)
        self.up_since[name] = time.monotonic()

    def kill(self, names: list[str]) -> None:
        """SIGKILL, workers and all, and start again at once."""
        with self._changing:
            for name in names:
                self._kill(name)
                self.kills[name] += 1
            for name in names:
                self._start(name)

    def _kill(self, name: str) -> None:
        pid = self._running.pop(name)
        if _over(pid):
            self.died[name] += 1
        # Just forked, it may not lead a group of its own yet: then it has no workers either.
        for kill in (os.killpg, os.kill):
            with suppress(ProcessLookupError):
                kill(pid, signal.SIGKILL)
        self._nursery.reap(pid)

    def _keep(self) -> None:
        while not self._ended.wait(0.5):
            with self._changing:
                for name, pid in list(self._running.items()):
                    if not self._ended.is_set() and _over(pid):
                        self.died[name] += 1
                        self._nursery.reap(pid)
                        self._start(name)

    def limit_files(self, most: int | None) -> None:
        """No file may be written beyond ``most`` bytes, by what runs now and what is started later; None lifts it."""
        soft = resource.RLIM_INFINITY if most is None else most
        with self._changing:
            self._file_most = most
            for pid in self._running.values():
                for one in (pid, *descendants(pid)):
                    try:
                        resource.prlimit(one, resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))
                    except ProcessLookupError:
                        continue

    def serving(self) -> bool:
        try:
            return requests.get(f"{self._url}/healthz", timeout=2).status_code == 200
        except requests.RequestException:
            return False

    def wait_until_serving(self) -> None:
        deadline = time.monotonic() + UP_MOST_S
        while not self.serving():
            if time.monotonic() > deadline:
                raise NotReady(f"the web service did not answer within {UP_MOST_S:.0f} s; see its log")
            time.sleep(LOOK_S)

    def close(self) -> None:
        self._ended.set()
        with self._changing:
            for name in list(self._running):
                self._kill(name)


def _over(pid: int) -> bool:
    """Whether a process has ended; a zombie waits for whoever forked it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"
