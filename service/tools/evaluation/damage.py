"""Which recording an evaluation stumbled over, and what is wrong with it, in one sentence."""

from __future__ import annotations

import csv
import lzma
import sys
import zipfile
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

_CHUNK = 2**20
_UNREADABLE = (OSError, EOFError, lzma.LZMAError, zipfile.BadZipFile, zlib.error, csv.Error, ValueError)
_UNFIT = (*_UNREADABLE, LookupError, ArithmeticError)
"""What recordings of another kind raise in code that takes them for its own."""


class Opened:
    """Files below a folder that were opened for reading while this was entered, the latest last."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.paths, self._on = folder.resolve(), dict[Path, None](), False
        self._hooked = False

    def __enter__(self) -> Self:
        if not self._hooked:
            sys.addaudithook(self._heard)
            self._hooked = True
        self._on = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._on = False

    def _heard(self, event: str, given: tuple[Any, ...]) -> None:
        if not self._on or event != "open" or not isinstance(given[0], (str, bytes)):
            return
        path = Path(given[0] if isinstance(given[0], str) else given[0].decode("utf-8", "replace"))
        path = path if path.is_absolute() else Path.cwd() / path
        if self.folder in path.parents or self.folder in path.resolve().parents:
            self.paths.pop(path, None)
            self.paths[path] = None


def damaged(path: Path) -> str | None:
    """Why a recording cannot be read to its end; None if it can."""
    try:
        if path.stat().st_size == 0:
            return "it is empty"
        if path.suffix == ".npz":
            with np.load(path) as held:
                for name in held.files:
                    _ = held[name]
        elif path.suffix == ".xz":
            _text(path, xz=True)
        elif path.suffix in (".csv", ".txt"):
            _text(path, xz=False)
    except _UNREADABLE as error:
        return f"it is cut off or damaged: {type(error).__name__}: {error}".rstrip(": ")
    return None


def _text(path: Path, *, xz: bool) -> None:
    rest = b""
    with lzma.open(path, "rb") if xz else path.open("rb") as file:
        while part := file.read(_CHUNK):
            lines = rest + part
            end = lines.rfind(b"\n") + 1
            lines[:end].decode("utf-8")
            rest = lines[end:]
    rest.decode("utf-8")


def explain(error: Exception, opened: Opened) -> str | None:
    """The file that is to blame, what is wrong and what to do; None where no recording is to blame."""
    if not isinstance(error, _UNFIT) or not opened.paths:
        return None
    paths = list(reversed(opened.paths))
    for path in paths:
        why = damaged(path)
        if why is not None:
            return f"{_name(path, opened)} cannot be read, {why}; fetch it again from where it came from"
    said = f"{type(error).__name__}: {error}".replace("\n", " ")
    return (
        f"{_name(paths[0], opened)}, the last recording read, is not what this set expects ({said}); "
        "put the file of the same name from the set's own source in its place"
    )


def _name(path: Path, opened: Opened) -> str:
    try:
        return str(path.resolve().relative_to(opened.folder))
    except ValueError:
        return str(path)
