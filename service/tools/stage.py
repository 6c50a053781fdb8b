"""Parts of Ansim as processes of their own, and a whole throw-away service made of them."""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import requests

from service.app import build_house
from service.config import Settings
from service.stopping import Stoppable
from service.store import schema
from service.tools.doctor import NotReady
from service.workflows import people

DESK_PHONE = "+82515550199"
CARRIER_PHONE = "+82515550100"
START_MOST_S = 90.0
STOP_MOST_S = 8.0
STANDARD_ERROR = 2
SCOPES = ("devices:write", "incidents:read", "patients:read")
Part = subprocess.Popen[str]


@dataclass(frozen=True)
class Stage:
    """A running service that nobody else uses."""

    url: str
    service_key: str
    settings: Settings
    parts: list[Part]


@contextmanager
def own_service(
    *, workers: int = 1, threads: int = 64, jobs: bool = True, extra: Mapping[str, str] | None = None
) -> Iterator[Stage]:
    """A service in a temporary folder with loopback telephones; stopped and removed at the end."""
    with tempfile.TemporaryDirectory(prefix="ansim-") as folder, stopped_politely() as parts:
        environ = {k: v for k, v in os.environ.items() if not k.startswith("ANSIM_")}
        environ |= demonstration(Path(folder), free_port())
        environ |= {"ANSIM_WORKERS": str(workers), "ANSIM_THREADS": str(threads), "ANSIM_LOG_LEVEL": "error"}
        environ |= extra or {}
        carrier_url = start_loopback(parts, environ)
        environ["ANSIM_TWILIO_API_URL"] = carrier_url
        settings = Settings.from_env(environ)
        key = _seed(settings)
        parts.append(start(environ, "serve"))
        if jobs:
            parts.append(start(environ, "jobs"))
        wait_until_ready(settings.public_url, parts, never(), door="readyz" if jobs else "healthz")
        yield Stage(settings.public_url, key, settings, parts)


def _seed(settings: Settings) -> str:
    house = build_house(settings)
    schema.upgrade(house.database)
    organisation_id = people.add_organisation(house, "안심 재생")
    key = people.add_service_key(house, organisation_id, "own service", SCOPES)
    house.database.dispose()
    return key


def demonstration(folder: Path, port: int) -> dict[str, str]:
    """Settings of a service that rings no real telephone, with keys made on the spot."""
    return {
        "ANSIM_DEMO": "yes",
        "ANSIM_DATA_DIR": str(folder),
        "ANSIM_PORT": str(port),
        "ANSIM_TWILIO_ACCOUNT_SID": "AC" + secrets.token_hex(16),
        "ANSIM_TWILIO_AUTH_TOKEN": secrets.token_hex(16),
        "ANSIM_TWILIO_FROM": CARRIER_PHONE,
        "ANSIM_FALLBACK_NUMBER": DESK_PHONE,
        "ANSIM_KEK": base64.b64encode(secrets.token_bytes(32)).decode(),
    }


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def must_be_free(name: str, host: str, port: int) -> None:
    """Raise NotReady when the setting ``name`` is a port that cannot be listened on; 0 always can."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        socket.create_server(address, family=family).close()
    except OSError as error:
        raise NotReady(
            f"{name} must be a port that nobody listens on, was {port} on {host} ({error.strerror}): "
            f"end what listens there (an earlier `ansim demo`?), or choose another port with {name}"
        ) from error


@contextmanager
def stopped_politely() -> Iterator[list[Part]]:
    """Whatever was started is stopped, politely first; a polite stop of ours stops it too."""
    parts: list[Part] = []
    before = _stop_on_sigterm()
    try:
        yield parts
    finally:
        for part in parts:
            if part.poll() is None:
                part.terminate()
        deadline = time.monotonic() + STOP_MOST_S
        for part in parts:
            try:
                part.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                part.kill()
                part.wait()
            for pipe in (part.stdin, part.stdout):
                if pipe is not None:
                    pipe.close()
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _stop_on_sigterm() -> signal.Handlers | None:
    """Turn SIGTERM into an exit that unwinds, unless somebody already handles it."""
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return None

    def leave(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(3)

    signal.signal(signal.SIGTERM, leave)
    return signal.SIG_DFL


def start(environ: Mapping[str, str], *words: str) -> Part:
    """One part; it writes to standard error only, so that standard output stays the command's own."""
    return start_module(environ, "service.cli", *words)


def start_module(environ: Mapping[str, str], module: str, *words: str) -> Part:
    return _leashed(environ, module, *words, stdout=STANDARD_ERROR)


def _leashed(environ: Mapping[str, str], module: str, *words: str, stdout: int) -> Part:
    """A part that ends when this process does, however it does: its standard input is closed then."""
    command = [sys.executable, "-m", "service.tools.leash", module, *words]
    return subprocess.Popen(command, env=environ, text=True, stdin=subprocess.PIPE, stdout=stdout)


def never() -> threading.Event:
    """A stop that nobody asks for."""
    return threading.Event()


def start_loopback(parts: list[Part], environ: dict[str, str], port: str = "0") -> str:
    """The loopback telephone network; returns its address."""
    environ |= {
        "ANSIM_LOOPBACK_ACCOUNT_SID": environ["ANSIM_TWILIO_ACCOUNT_SID"],
        "ANSIM_LOOPBACK_AUTH_TOKEN": environ["ANSIM_TWILIO_AUTH_TOKEN"],
    }
    part = _leashed(environ, "service.loopback", "--port", port, stdout=subprocess.PIPE)
    parts.append(part)
    assert part.stdout is not None  # noqa: S101 - asked for above
    for line in part.stdout:
        if line.startswith("LOOPBACK_READY "):
            return str(json.loads(line.removeprefix("LOOPBACK_READY "))["url"])
    raise NotReady("the loopback telephone network did not start; see the lines above")


def wait_until_ready(url: str, parts: list[Part], stop: Stoppable, *, door: str = "readyz") -> None:
    """Return once it answers (or ``stop`` is set); raises NotReady when a part ends or time is up."""
    deadline = time.monotonic() + START_MOST_S
    while not stop.wait(0.1):
        if any(part.poll() is not None for part in parts):
            raise NotReady("a part ended while starting; see the lines above (is ANSIM_PORT free?)")
        if time.monotonic() > deadline:
            raise NotReady(f"the service was not ready after {START_MOST_S:.0f} s; see the lines above")
        try:
            if requests.get(f"{url}/{door}", timeout=2).status_code == 200:
                return
        except requests.RequestException:
            continue
