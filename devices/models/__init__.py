"""Fitted models: JSON documents beside this file, each pinned by its hash, and an operator's own in their place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.models.pins import PINS

FOLDER = Path(__file__).parent


class ModelError(Exception):
    """A model is missing, altered or of another kind than its reader expects."""


@dataclass(frozen=True, slots=True)
class Model:
    """One fitted model.

    Attributes
    ----------
    name : str
    parameters : Mapping[str, Any]
        Numbers and lists of numbers, as its layer documents them.
    card : Mapping[str, Any]
        Where it comes from: sets with hash and licence note, subjects, calibration, date.
    """

    name: str
    parameters: Mapping[str, Any]
    card: Mapping[str, Any]

    def array(self, key: str) -> npt.NDArray[np.float64]:
        """A list of numbers as a read-only array."""
        found = np.asarray(self.parameters[key], dtype=np.float64)
        found.flags.writeable = False
        return found

    def number(self, key: str) -> float:
        return float(self.parameters[key])


def to_bytes(model: Model) -> bytes:
    """The document as it is shipped and hashed: one canonical spelling."""
    document = {"name": model.name, "parameters": dict(model.parameters), "card": dict(model.card)}
    return (json.dumps(document, ensure_ascii=False, sort_keys=True, indent=1) + "\n").encode()


def from_bytes(data: bytes) -> Model:
    """Read a document; raises ``ModelError``."""
    try:
        document = json.loads(data)
        return Model(str(document["name"]), dict(document["parameters"]), dict(document["card"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"a model must be JSON with name, parameters and card, was {data[:40]!r}: fit it anew"
        ) from error


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@cache
def shipped(name: str) -> Model:
    """The model of this name in the package, verified against its pin; raises ``ModelError``."""
    path = FOLDER / f"{name}.json"
    pin = PINS.get(name)
    if pin is None or not path.is_file():
        raise ModelError(f"model must be one of {', '.join(sorted(PINS)) or 'none yet'}, was {name!r}")
    data = path.read_bytes()
    if digest(data) != pin:
        raise ModelError(f"model {name} is not the one this release was tested with: install the package anew")
    return from_bytes(data)


_SHELF: dict[str, Model] = {}
_HANDED_OUT: dict[str, Model] = {}


def load(name: str) -> Model:
    """The model in force: an operator's own where one was put on the shelf, else the shipped one."""
    model = _SHELF.get(name)
    if model is None:
        model = shipped(name)
    _HANDED_OUT[name] = model
    return model


def replace(name: str, model: Model) -> None:
    """Put an operator's model in the place of the shipped one, once, before anything is judged by it.

    Whoever calls has verified its signature. Raises ``ModelError`` where it could not stand in, or came too late.
    """
    wanted, given = set(shipped(name).parameters), set(model.parameters)
    if model.name != name or given != wanted:
        raise ModelError(
            f"model {name} must have the parameters {', '.join(sorted(wanted))}, was {model.name} with "
            f"{', '.join(sorted(given))}: fit it anew with this release"
        )
    if _HANDED_OUT.get(name, model) != model:
        raise ModelError(f"model {name} was already in use when another was put in its place: start anew")
    _SHELF[name] = model
