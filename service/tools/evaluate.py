"""Measuring every layer of detection on recordings of people, subject-wise; each measure beside its goal."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import importlib.util
import json
import math
import pkgutil
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from service.config import Settings
from service.tools import evaluation
from service.tools.evaluation import report
from service.tools.evaluation.common import Curve, Evaluation, Row, say
from service.tools.evaluation.damage import Opened, explain
from service.tools.evaluation.process import Result, Task, measure

OK, NOT_MET, USAGE, ENVIRONMENT = 0, 1, 2, 3
MOST_JOBS = 2
_GOAL = re.compile(r"\s*(>=|<=|==|=|>|<|≥|≤)\s*(-?\d+(?:\.\d*)?)\s*(%?)")
COLUMNS = (
    "set", "measure", "detector", "value", "ci_low", "ci_high", "n_positive", "n_subjects", "negative_hours", "mode"
)  # fmt: skip
"""Keys of a row in the contract; `goal`, `met` and `note` follow."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of recordings")
    parser.add_argument(
        "--set", action="extend", nargs="+", default=[], metavar="NAME", help="only these; may be repeated"
    )
    parser.add_argument(
        "--mode", choices=("nested", "frozen"), required=True,
        help="nested: fitted and chosen on other subjects, fold by fold; frozen: the models in force, as they are",
    )  # fmt: skip
    parser.add_argument("--peers", action="store_true", help="measure other software in the same run, where installed")
    parser.add_argument("--report", type=Path, metavar="DIR", help="write a page with plots there")
    parser.add_argument("--json", action="store_true", help="the rows alone on standard output, as one list")
    parser.add_argument("--jobs", type=int, choices=range(1, MOST_JOBS + 1), default=MOST_JOBS, help="sets at a time")


def modules(package: Any = evaluation) -> dict[str, Evaluation | str]:
    """Modules of the package that measure something, by full name; one that cannot be read is its error."""
    found: dict[str, Evaluation | str] = {}
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda one: one.name):
        name = f"{package.__name__}.{info.name}"
        try:
            module = importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - one broken module must not lose the others' rows
            found[name] = f"{type(error).__name__}: {error}"
            continue
        if hasattr(module, "NAMES") and hasattr(module, "evaluate"):
            found[name] = cast("Evaluation", module)
    return found


def names_of(name: str, module: Evaluation | str) -> tuple[str, ...]:
    """What a module answers to: its names, and its file's."""
    own = name.rpartition(".")[2]
    return (own,) if isinstance(module, str) else tuple(dict.fromkeys((*module.NAMES, own)))


def choose(found: dict[str, Evaluation | str], asked: Sequence[str]) -> dict[str, Evaluation | str]:
    """The modules asked for; all of them without a name. Raises KeyError with the unknown name."""
    answering: dict[str, list[str]] = {}
    for name, module in found.items():
        for word in names_of(name, module):
            answering.setdefault(word, []).append(name)
    if not asked:
        return found
    wanted = {name for word in asked for name in answering[word]}
    return {name: module for name, module in found.items() if name in wanted}


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Measure; 0 if every goal is met, 1 if one is not, 2 for an unknown set, 3 where what was asked for cannot be."""
    if not given.data.is_dir():
        return _environment(f"--data must be a folder of recordings, was {str(given.data)!r}: correct the path")
    if given.report is not None and importlib.util.find_spec("matplotlib") is None:
        return _environment("--report needs matplotlib: pip install 'ansim[evaluate]'")
    if given.report is not None and given.report.exists() and not given.report.is_dir():
        return _environment(f"--report must be a folder, was the file {str(given.report)!r}: name another")
    if not given.set and not any(given.data.iterdir()):
        return _environment(f"--data must hold recordings, {str(given.data)!r} is empty: correct the path")
    found = modules()
    try:
        chosen = choose(found, given.set)
    except KeyError as error:
        known = ", ".join(sorted({word for name, module in found.items() for word in names_of(name, module)}))
        sys.stderr.write(f"ansim evaluate: --set must be one of {known}, was {error.args[0]!r}\n")
        return USAGE
    ready, absent, results = _present(chosen, given.data)
    for line in absent:
        say(f"ansim evaluate: {line}" if given.set else f"ansim evaluate: skipped: {line}")
    if not ready and absent and not results:
        say("ansim evaluate: none of the sets has its data there")
        return ENVIRONMENT
    tasks = [Task(name, given.data, given.mode, given.peers, settings) for name in ready]
    results = [_unread(name, module) for name, module in chosen.items() if isinstance(module, str)] + results
    results += measure(tasks, given.jobs)
    return _tell(given, results, bool(given.set and absent))


def _unread(name: str, error: str) -> Result:
    say(f"ansim evaluate: {name} could not be read ({error})")
    return Result(name, names_of(name, error), error=error)


def _present(chosen: dict[str, Evaluation | str], data: Path) -> tuple[list[str], list[str], list[Result]]:
    """Modules that have their data, sentences about those that lack them, and those whose data cannot be read."""
    ready, absent, broken = [], [], []
    for name, module in chosen.items():
        if isinstance(module, str):
            continue
        opened = Opened(data)
        try:
            with opened:
                lacking = module.missing(data)
        except Exception as error:  # noqa: BLE001 - a file that is no such file must not lose the other sets
            why = explain(error, opened) or f"its data cannot be read ({type(error).__name__}: {error})"
            say(f"ansim evaluate: {', '.join(module.NAMES)} failed: {why}")
            broken.append(Result(name, module.NAMES, error=why))
            continue
        if lacking is None:
            ready.append(name)
        else:
            absent.append(f"{', '.join(module.NAMES)}: data not present: {lacking} (looked in {data})")
    return ready, absent, broken


def met(row: Row) -> bool | None:
    """Whether a row reaches its goal; None for a peer, without a goal, or where nothing could be measured."""
    parsed = _GOAL.match(row.goal or "") if row.detector.startswith("ansim") else None
    if parsed is None or row.value is None or not math.isfinite(row.value):
        return None
    word, number, percent = parsed.groups()
    limit = float(number) / (100 if percent and abs(row.value) <= 1 else 1)
    if word in (">=", "≥"):
        return row.value >= limit
    if word in ("<=", "≤"):
        return row.value <= limit
    if word in ("==", "="):
        return math.isclose(row.value, limit)
    return row.value > limit if word == ">" else row.value < limit


def _goal(row: Row) -> str | None:
    """Goals are ours: a peer beside us is not held to them."""
    return row.goal if row.detector.startswith("ansim") else None


def unmeasured(row: dict[str, Any]) -> bool:
    """Whether a row has a goal of ours and no figure to hold against it."""
    return row["goal"] is not None and row["value"] is None


def as_dicts(results: Iterable[Result], mode: str, *, asked: bool = False) -> list[dict[str, Any]]:
    """Rows as the contract prints them; a set that failed leaves one row without a value.

    A goal without a figure is told as skipped, or as not measurable where the set was `asked` for.
    """
    printed = []
    for result in results:
        rows = list(result.outcome.rows)
        if result.error is not None:
            lost = Row(result.names[0], "evaluation", "ansim", None, mode=mode, note=f"failed: {result.error}"[:600])
            rows.append(lost)
        for row in rows:
            plain = dataclasses.asdict(row)
            one = {key: _plain(plain[key]) for key in COLUMNS} | {"goal": _goal(row), "met": met(row), "note": row.note}
            if unmeasured(one):
                why = row.note or "nothing in these recordings to measure it on"
                one["note"] = f"{'not measurable' if asked else 'skipped'}: {why}"
            if result.seen and result.seen[0] and row.detector.startswith("ansim"):
                told = f"seen: {result.seen[0]} of {result.seen[1]}"
                one["note"] = told if one["note"] is None else f"{told}; {one['note']}"
            printed.append(one)
    return printed


def _plain(value: Any) -> Any:
    """A number or text that JSON has; what is not a number is null."""
    if value is None or isinstance(value, str):
        return value
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() and not isinstance(value, float) else number


def _tell(given: argparse.Namespace, results: list[Result], lacking: bool) -> int:
    rows = as_dicts(results, given.mode, asked=bool(given.set))
    if given.json:
        print("[" + ",\n ".join(json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows) + "]")
    else:
        print("\n".join(table(rows)))
    if given.report is not None:
        curves: list[Curve] = [curve for result in results for curve in result.outcome.curves]
        page = report.write(given.report, rows, curves, given.data, given.mode)
        say(f"ansim evaluate: wrote {page}")
    missed = [row for row in rows if row["met"] is False]
    for row in missed:
        say(f"ansim evaluate: not met: {row['set']} {row['measure']} {report.number(row['value'])}, goal {row['goal']}")
    open_goals = [row for row in rows if unmeasured(row)]
    for row in open_goals:
        say(f"ansim evaluate: {row['set']} {row['measure']}: {row['note']}")
    if lacking or any(result.error for result in results) or (given.set and open_goals):
        return ENVIRONMENT
    return NOT_MET if missed else OK


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Rows for people: set by set, figure, interval, goal."""
    lines: list[str] = []
    width = max((len(row["measure"]) + len(row["detector"]) for row in rows), default=0) + 3
    last = None
    for row in rows:
        if row["set"] != last:
            last = row["set"]
            lines += ["", f"{last} ({row['mode']})"]
        goal = f"goal {row['goal']}: {report.WORDS[row['met']]}" if row["goal"] else ""
        label = f"{row['measure']} [{row['detector']}]"
        figure = f"{report.number(row['value']):>9} {report.interval(row):<19}"
        tail = "  ".join(text for text in (report.basis(row), goal, row["note"]) if text)
        lines.append(f"  {label:<{width}} {figure} {tail}".rstrip())
    return lines[1:]


def _environment(text: str) -> int:
    sys.stderr.write(f"ansim evaluate: {text}\n")
    return ENVIRONMENT
