"""Everything at once on one machine: service, jobs, loopback telephones and virtual wearables."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

import requests

from devices.simulator import Scenario, Wearer, stamped
from service.app import build_house
from service.config import Settings
from service.stopping import Stop, Stoppable
from service.store import schema
from service.tools import demo_people, stage
from service.tools.demo_people import Cast, Played
from service.tools.doctor import NotReady
from service.tools.stage import Part
from service.tools.supervisor import Supervisor
from service.tools.wearable import Wearable

HIGHEST_PORT = 65535
MARKER = "this-is-a-demonstration"
HISTORY_H = 24.0
UPLOAD_EVERY_S = 10.0
BATCH_S = 300.0
GRADUAL = (Scenario.DESATURATION, Scenario.RESTING_TACHYCARDIA)
TELLS = "\n  "


def run(_given: argparse.Namespace, settings: Settings) -> int:
    """Start all parts in one foreground process group; Ctrl-C stops all of them."""
    stop = Stop()
    carrier_port = _free_carrier_port(settings)
    environ = os.environ | _environment(settings)
    with afresh(settings.data_dir), stage.stopped_politely() as parts:
        carrier_url = stage.start_loopback(parts, environ, carrier_port)
        environ["ANSIM_TWILIO_API_URL"] = carrier_url
        settings = Settings.from_env(environ)
        house = build_house(settings)
        schema.upgrade(house.database)
        cast = demo_people.seed(house, settings.public_url)
        _tell_logins(settings.data_dir, cast)
        _set_telephones(carrier_url, settings.public_url)
        supervisor = Supervisor(parts)
        supervisor.keep("telephones", lambda: _telephones_again(environ, carrier_url, settings), parts[0])
        for name in ("serve", "jobs", "watchdog"):
            supervisor.keep(name, partial(stage.start, environ, name))
        stage.wait_until_ready(settings.public_url, parts, stop)
        if stop.is_set():
            return 0
        threading.Thread(target=_wear, args=(settings.public_url, cast, stop), daemon=True).start()
        _announce(settings, cast, carrier_url)
        while not stop.wait(0.5):
            if not supervisor.look(time.monotonic()):
                return 3
    sys.stderr.write("ansim: everything has stopped\n")
    return 0


def _free_carrier_port(settings: Settings) -> str:
    """The loopback network's port, once every port that the demonstration needs is known to be free."""
    text = os.environ.get("ANSIM_LOOPBACK_PORT", "0")
    if not text.isdecimal() or int(text) > HIGHEST_PORT:
        raise NotReady(f"ANSIM_LOOPBACK_PORT must be 0 (any free port) to {HIGHEST_PORT}, was {text!r}: choose another")
    stage.must_be_free("ANSIM_PORT", settings.host, settings.port)
    stage.must_be_free("ANSIM_LOOPBACK_PORT", "127.0.0.1", int(text))
    return text


@contextmanager
def afresh(folder: Path) -> Iterator[None]:
    """Begin in an empty folder that is this demonstration's own as long as it runs; never touch any other."""
    marker = folder / MARKER
    if folder.exists() and any(folder.iterdir()):
        if not marker.exists():
            raise NotReady(
                f"ANSIM_DATA_DIR must be empty or an earlier demonstration's for `ansim demo`, was {folder}: "
                "choose another folder"
            )
        with marker.open() as earlier:
            _hold(earlier, folder)
            shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with marker.open("w") as ours:
        _hold(ours, folder)
        ours.write("Simulated people only. Removed and made anew by every `ansim demo`.\n")
        ours.flush()
        yield


def _hold(marker: TextIO, folder: Path) -> None:
    try:
        fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise NotReady(
            f"ANSIM_DATA_DIR must be a folder where no demonstration is running, was {folder}: "
            "stop that one, or choose another folder"
        ) from error


def _environment(settings: Settings) -> dict[str, str]:
    return stage.demonstration(settings.data_dir, settings.port) | {
        "ANSIM_VOICE_COST_PER_MINUTE": os.environ.get("ANSIM_VOICE_COST_PER_MINUTE", "45"),
        "ANSIM_TEXT_COST": os.environ.get("ANSIM_TEXT_COST", "65"),
        "ANSIM_SILENT_AFTER_S": os.environ.get("ANSIM_SILENT_AFTER_S", "180"),
    }


def _set_telephones(carrier_url: str, public_url: str) -> None:
    root = f"{public_url}/v1/telephony/twilio"
    doors = {"voice_url": f"{root}/incoming", "text_url": f"{root}/text"}
    requests.put(f"{carrier_url}/_network", json=doors, timeout=5).raise_for_status()
    for number, (label, plan) in demo_people.phone_plans().items():
        response = requests.put(f"{carrier_url}/_phones/{number}", json=plan | {"label": label}, timeout=5)
        response.raise_for_status()


def _telephones_again(environ: dict[str, str], carrier_url: str, settings: Settings) -> Part:
    """The loopback network where it was; what its telephones heard before is gone."""
    begun: list[Part] = []
    stage.start_loopback(begun, environ, str(urlsplit(carrier_url).port))
    _set_telephones(carrier_url, settings.public_url)
    return begun[0]


def _tell_logins(folder: Path, cast: Cast) -> None:
    """The log-in page of the demonstration lists them."""
    (folder / "demo-logins.json").write_text(json.dumps(cast.logins))


def _announce(settings: Settings, cast: Cast, carrier_url: str) -> None:
    ready: dict[str, Any] = {
        "url": settings.public_url,
        "service_key": cast.service_key,
        "carrier_url": carrier_url,
        "logins": cast.logins,
    }
    settings.run_file.write_text(json.dumps(ready, indent=2))
    lines = [f"{one['role']:<11} {one['name']:<10} {one['password']}" for one in cast.logins]
    print(
        f"\nAnsim is running with simulated people.{TELLS}"
        f"pages        {settings.public_url}{TELLS}"
        f"telephones   {carrier_url}  (no real phone rings){TELLS}"
        + TELLS.join(lines)
        + "\nCtrl-C stops all of it. Every start begins afresh: what was entered before is gone.\n",
        flush=True,
    )
    print(f"ANSIM_READY {json.dumps(ready)}", flush=True)


def _wear(url: str, cast: Cast, stop: Stoppable) -> None:
    """Let everybody's virtual wearable report until stopped."""
    wearers = []
    started = time.monotonic()
    for number, (played, _patient_id, code) in enumerate(cast.played):
        band = Wearable.enrol(url, code, "ansim-virtual-band")
        wearer = Wearer(seed=100 + number, scenario=Scenario.WELL)
        if not played.reports:
            continue
        # What begins gradually is reported late, in one batch: its minutes are not in the history too.
        until = datetime.now(UTC) - timedelta(seconds=BATCH_S if played.scenario in GRADUAL else 0)
        for body in wearer.history(until, HISTORY_H):
            band.post(stamped(body, datetime.now(UTC)))
        wearers.append((played, band, wearer))
    while not stop.is_set():
        for played, band, wearer in wearers:
            _report(played, band, wearer, time.monotonic() - started)
        stop.wait(UPLOAD_EVERY_S)


def _report(played: Played, band: Wearable, wearer: Wearer, elapsed_s: float) -> None:
    begins = played.scenario is not wearer.scenario and elapsed_s >= played.begins_s
    if begins:
        wearer.scenario = played.scenario
        wearer.restart()
    gradual = played.scenario in GRADUAL
    if gradual and wearer.scenario is not played.scenario:
        return
    n = BATCH_S if gradual and begins else UPLOAD_EVERY_S
    body = wearer.live(datetime.now(UTC), n=int(n), step_s=1.0)
    if body is not None:
        try:
            band.post(body)
        except requests.RequestException as error:
            sys.stderr.write(f"ansim: a virtual wearable could not report ({type(error).__name__})\n")
