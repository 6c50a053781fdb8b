"""One module's evaluation in a process of its own, so that whatever happens to it loses nobody else's rows."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

from devices.models import ModelError, load
from service import models
from service.config import Settings
from service.tools.evaluation.common import Evaluation, Outcome, file_hash, say
from service.tools.evaluation.damage import Opened, explain

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Task:
    """One module's work, as it is handed to a process of its own."""

    module: str
    data: Path
    mode: str
    peers: bool
    settings: Settings | None = None


@dataclass(slots=True)
class Result:
    """What became of a task."""

    module: str
    names: tuple[str, ...]
    outcome: Outcome = field(default_factory=Outcome)
    error: str | None = None
    seen: tuple[int, int] | None = None
    """How many of the subjects, of how many, the models were fitted on."""
    took_s: float = 0.0


def measure(tasks: Sequence[Task], jobs: int) -> list[Result]:
    """Run each task in a process of its own, so many at a time; results in the order of the tasks."""
    with ThreadPoolExecutor(max_workers=max(jobs, 1)) as pool:
        return list(pool.map(_in_a_process, tasks))


def _in_a_process(task: Task) -> Result:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    for name in _THREADS:
        os.environ.setdefault(name, "1")  # two sets share the machine: their threads would only fight
    process = context.Process(target=_child, args=(sender, task), daemon=True)
    process.start()
    sender.close()
    try:
        result: Result = receiver.recv()
    except EOFError:
        process.join()
        result = Result(task.module, (task.module.rpartition(".")[2],), error=f"died (exit code {process.exitcode})")
        say(f"ansim evaluate: {task.module} {result.error}")
    process.join()
    return result


def _child(sender: Connection, task: Task) -> None:
    # Peers print as they please, also from C: standard output belongs to the rows alone.
    os.dup2(2, 1)
    with contextlib.redirect_stdout(sys.stderr):
        sender.send(perform(task))
    sender.close()


def perform(task: Task) -> Result:
    """Measure with one module, whatever happens to it."""
    started = time.monotonic()
    module = cast("Evaluation", importlib.import_module(task.module))
    result = Result(task.module, module.NAMES)
    title = ", ".join(module.NAMES)
    say(f"ansim evaluate: {title} ({task.mode}) begins")
    opened = Opened(task.data)
    try:
        if task.settings is not None:
            models.put_in_force(task.settings)
        with opened:
            result.outcome = module.evaluate(task.data, task.mode, task.peers, say)
        if task.mode == "frozen":
            result.seen = seen(module, task.data, result.outcome)
            if result.seen and result.seen[0]:
                say(f"ansim evaluate: {title}: seen: {result.seen[0]} of {result.seen[1]} subjects were fitted on")
    except Exception as error:  # noqa: BLE001 - one failing set must not lose the others' rows
        unfit = explain(error, opened)
        result.error = unfit or f"{type(error).__name__}: {error}"
        say(f"ansim evaluate: {title} failed: {unfit}" if unfit else
            f"ansim evaluate: {title} failed\n{traceback.format_exc()}")  # fmt: skip
    result.took_s = time.monotonic() - started
    say(f"ansim evaluate: {title} took {result.took_s:.0f} s")
    return result


def seen(module: Evaluation, data: Path, outcome: Outcome) -> tuple[int, int] | None:
    """How many of the measured subjects the models in force were fitted on; None where nobody can tell."""
    cards = []
    for name in module.MODELS:
        with contextlib.suppress(ModelError):
            cards.append(load(name).card)
    fitted = {str(subject) for card in cards for subject in card.get("subjects", ())}
    if outcome.subjects and fitted:
        return len({str(s) for s in outcome.subjects} & fitted), len(set(outcome.subjects))
    most = max((row.n_subjects or 0 for row in outcome.rows), default=0)
    files = {(str(one.get("file")), str(one.get("sha256"))) for card in cards for one in card.get("sets", ())}
    same = any((data / file).is_file() and file_hash(data / file) == digest for file, digest in files)
    return (most, most) if same else None
