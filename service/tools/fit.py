"""Fitting the models of detection anew, and signing them."""

from __future__ import annotations

import argparse
import json
import math
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices import models
from devices.models import Model, ModelError
from devices.models.pins import PINS
from service.config import Settings
from service.models import SIGNED, private_key, sign
from service.tools.evaluate import ENVIRONMENT, OK, USAGE, choose, modules, names_of
from service.tools.evaluation.common import Evaluation, say

MINUTES = {"cinc2015": 1, "sisfall": 1, "tihm_silence": 1, "tihm_vitals": 1, "weda_fall": 1}
"""What fitting a set takes of one core of a small server, rounded up (measured)."""
MINUTES_ELSE = 3
"""Taken for a set that was not measured."""
DIGITS = 6
"""Significant digits of a shipped number: finer ones would differ between machines."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("set", help="a set of recordings, or all")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of recordings")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--out", type=Path, default=Path("models"), metavar="DIR", help="where to write (./models)")
    where.add_argument("--into-package", action="store_true", help="replace the shipped models and their pins")
    parser.add_argument("--key", type=Path, metavar="PEM", help="Ed25519 key to sign each model with")


def run(given: argparse.Namespace, _settings: Settings) -> int:
    """Fit; 0 when every model was written, 2 for an unknown set, 3 where data or a key are missing."""
    found = {name: module for name, module in modules().items() if isinstance(module, str) or module.MODELS}
    try:
        chosen = choose(found, [] if given.set == "all" else [given.set])
        key = private_key(given.key) if given.key else None
    except KeyError:
        known = ", ".join(sorted({word for name, module in found.items() for word in names_of(name, module)}))
        sys.stderr.write(f"ansim fit: the set must be all or one of {known}, was {given.set!r}\n")
        return USAGE
    except ModelError as error:
        return _environment(str(error))
    if not given.data.is_dir():
        return _environment(f"--data must be a folder of recordings, was {str(given.data)!r}: correct the path")
    written, lacking = _fit_all(chosen, given.data)
    folder = models.FOLDER if given.into_package else given.out
    save(written, folder, key)
    if given.into_package:
        write_pins(folder, written)
    for name, data in written.items():
        print(f"{folder / f'{name}.json'}  {len(data)} bytes  {models.digest(data)}")
    return ENVIRONMENT if lacking else OK


def _fit_all(chosen: Mapping[str, Evaluation | str], data: Path) -> tuple[dict[str, bytes], int]:
    """Fit one set after another, telling how far it is; the models made, and how many sets could not be fitted."""
    written: dict[str, bytes] = {}
    lacking, ready = 0, {}
    for name, module in chosen.items():
        problem = module if isinstance(module, str) else module.missing(data)
        if problem is None:
            ready[name.rpartition(".")[2]] = cast("Evaluation", module)
        else:
            lacking += _environment(f"{name.rpartition('.')[2]}: data not present: {problem}") > 0
    names = list(ready)
    for k, name in enumerate(names):
        left = sum(MINUTES.get(one, MINUTES_ELSE) for one in names[k:])
        turn = f"{name} ({k + 1} of {len(names)})"
        say(f"ansim fit: {turn} begins: about {_minutes(name)} for it, {left} until all is done")
        with Pulse(f"ansim fit: {name}", MINUTES.get(name, MINUTES_ELSE)) as pulse:
            written |= fitted(ready[name], data)
        say(f"ansim fit: {name} took {pulse.took_s:.0f} s")
    return written, lacking


def _minutes(name: str) -> str:
    about = MINUTES.get(name, MINUTES_ELSE)
    return "a minute" if about == 1 else f"{about} minutes"


class Pulse:
    """Says every so often that long work goes on, for how long it has, and for how long it may."""

    def __init__(self, title: str, minutes: int, every_s: float = 30.0) -> None:
        self.title, self.minutes, self.every_s = title, minutes, every_s
        self.took_s = 0.0
        self._over, self.said = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.took_s = time.monotonic() - self._began
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(self.every_s):
            went = time.monotonic() - self._began
            say(f"{self.title}: at work for {went:.0f} s, usually about {60 * self.minutes} s of one core to itself")
            self.said.set()


def fitted(module: Evaluation, data: Path) -> dict[str, bytes]:
    """The canonical bytes of every model that a module fits."""
    made = module.fit(data, say)
    return {name: canonical(name, document) for name, document in made.items()}


def canonical(name: str, document: Mapping[str, Any]) -> bytes:
    """One spelling of a model, its numbers rounded; raises ``ModelError`` for what is no finite number."""
    parameters = _rounded(document["parameters"], f"{name}.parameters")
    card = _rounded(document["card"], f"{name}.card")
    data = models.to_bytes(Model(name, parameters, card))
    # Whatever is not plain JSON would come back as something else.
    if json.loads(data)["parameters"] != parameters:
        raise ModelError(f"model {name} must hold plain numbers, text, lists and tables: mend its fit")
    return data


def _rounded(value: Any, place: str) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _rounded(one, f"{place}.{key}") for key, one in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_rounded(one, place) for one in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    number = float(value)
    if not math.isfinite(number):
        raise ModelError(f"{place} must be finite, was {number}: mend its fit")
    return float(f"{number:.{DIGITS}g}")


def save(written: Mapping[str, bytes], folder: Path, key: Ed25519PrivateKey | None) -> None:
    """Write models, and their signatures where there is a key; an older signature does not stay behind."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in written.items():
        (folder / f"{name}.json").write_bytes(data)
        signature = folder / f"{name}{SIGNED}"
        if key is None:
            signature.unlink(missing_ok=True)
        else:
            signature.write_bytes(sign(data, key))


def write_pins(folder: Path, written: Mapping[str, bytes]) -> None:
    """Pin what was written, beside what is pinned already."""
    pins = dict(PINS) | {name: models.digest(data) for name, data in written.items()}
    rows = "".join(f'    "{name}": "{pins[name]}",\n' for name in sorted(pins))
    text = f'"""SHA-256 of each shipped model; written by ``ansim fit``."""\n\nPINS: dict[str, str] = {{\n{rows}}}\n'
    (folder / "pins.py").write_text(text, "utf-8")


def _environment(text: str) -> int:
    sys.stderr.write(f"ansim fit: {text}\n")
    return ENVIRONMENT
