"""``ansim cohort``: what a policy does to time-to-human and needless rings, before it goes live; and its dry run."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from dispatch import cohort_report as figures
from dispatch import policies
from dispatch.cohort import Size
from dispatch.cohort_parameters import ParametersError, load
from dispatch.dry_run import CASES, DESK, PATIENT, at_text, condition, dry_run, example, line_text
from dispatch.policies import Document, PolicyError
from dispatch.policy_words import problem_text
from service.config import Settings

OK, NOT_MET, USAGE, ENVIRONMENT = 0, 1, 2, 3
SWEEP_HOMES = 2500
MEASURES = {
    "false_dispatch_cut": "false dispatches fewer",
    "needless_rings_cut": "needless rings fewer",
    "added_s": "seconds added, between the medians",
    "added_each_s": "seconds added, at the median event",
    "added_most_s": "seconds added, at most",
    "time_to_human_p50_s": "seconds to a human, p50",
    "time_to_human_p95_s": "seconds to a human, p95",
    "needless_rings_per_home_year": "needless rings a home and year",
    "false_dispatches_per_1000_home_days": "false dispatches in 1,000 homes a day",
    "ended_by_own_word_share": "emergencies ended by the person's own word",
    "nobody_in_time_share": "emergencies that nobody had in half an hour",
    "emergencies_told_fine_share": "emergencies whose taker was told of a \"fine\"",
    "missed_after_fine_share": "emergencies for which that \"fine\" sent nobody",
    "false_told_fine_share": "false alarms whose taker was told of a \"fine\"",
}


class Unusable(Exception):
    """A file or an argument that cannot be used; ``exit_code`` says whose fault."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def add_arguments(parser: argparse.ArgumentParser) -> None:
    usual = Size()
    parser.add_argument("--policy", type=Path, metavar="FILE", help="the policy to try (the one that ships)")
    parser.add_argument("--against", type=Path, metavar="FILE", help="another policy, on the same events")
    parser.add_argument("--households", type=_at_least(10, 200_000), default=usual.homes, metavar="N")
    parser.add_argument("--years", type=_years, default=usual.years, metavar="Y")
    parser.add_argument("--seed", type=_at_least(0, 2**31), default=usual.seed, metavar="S")
    parser.add_argument("--parameters", type=Path, metavar="FILE", help="who lives there (dispatch/cohort.toml)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="one parameter, otherwise")
    parser.add_argument("--sweep", action="store_true", help="also say where the goal stops holding (a minute)")
    parser.add_argument("--report", type=Path, metavar="DIR", help="write cohort.md and cohort.json there")
    parser.add_argument("--json", action="store_true", help="the figures alone on standard output")
    parser.add_argument("--dry-run", type=Path, metavar="FILE", help="only print who would be rung when; - for none")
    parser.add_argument("--case", choices=[*CASES, "all"], default="all", help="which case to dry-run")
    parser.add_argument("--language", choices=["en", "ko"], default="en", help="of the dry run")


def _at_least(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        number = int(text)
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"must be {low} to {high}, was {text}")
        return number

    return read


def _years(text: str) -> float:
    years = float(text)
    if not 0.05 <= years <= 50:
        raise argparse.ArgumentTypeError(f"must be 0.05 to 50, was {text}")
    return years


def run(given: argparse.Namespace, _settings: Settings) -> int:
    """0 when asking first meets its goal under this policy, 1 when not, 2 for a bad document, 3 for a missing file."""
    try:
        if given.dry_run is not None:
            return _dry_run(given)
        return _cohort(given)
    except Unusable as problem:
        sys.stderr.write(f"ansim cohort: {problem}\n")
        return problem.exit_code


def _document(path: Path | None) -> Document:
    if path is None or str(path) == "-":
        return policies.parse(policies.DEFAULT)
    text = _read(path)
    try:
        return policies.parse(policies.LINE_ENDS.sub("\n", text))
    except PolicyError as error:
        said = "\n".join(f"{path}:{one.line}: {problem_text(one, 'en')}" for one in error.problems)
        raise Unusable(f"the policy cannot hold:\n{said}", USAGE) from error


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise Unusable(f"{str(path)!r} {why}: give a policy or parameter file", ENVIRONMENT) from error


def _changes(given: list[str]) -> dict[str, float]:
    found = {}
    for one in given:
        name, _, value = one.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError as error:
            raise Unusable(f"--set must be NAME=NUMBER such as person.well_answers=0.8, was {one!r}", USAGE) from error
    return found


def _dry_run(given: argparse.Namespace) -> int:
    plan = example(_document(given.dry_run).policy)
    names = _names(given.language)
    cases = list(CASES) if given.case == "all" else [given.case]
    told = {case: dry_run(plan, [condition(case)]) for case in cases}
    if given.json:
        print(json.dumps({case: msgspec.to_builtins(lines) for case, lines in told.items()}, ensure_ascii=False))
        return OK
    for case, lines in told.items():
        print(f"{case}:")
        print("\n".join(f"  {at_text(one.at_s):>6}  {line_text(one, given.language, names)}" for one in lines))
    return OK


def _names(language: str) -> Callable[[str], str]:
    def name_of(who: str) -> str:
        number = who.removeprefix("person:")
        if number in {PATIENT, DESK}:
            return number
        ordinal = int(number[-2:], 16)
        return f"연락처 {ordinal}" if language == "ko" else f"contact {ordinal}"

    return name_of


def _cohort(given: argparse.Namespace) -> int:
    document = _document(given.policy)
    against = _document(given.against) if given.against is not None else None
    text = _read(given.parameters) if given.parameters is not None else None
    size = Size(homes=given.households, years=given.years, seed=given.seed)
    try:
        parameters = load(text, _changes(given.set))
        found = figures.report(document, parameters, against=against, size=size)
        small = msgspec.structs.replace(size, homes=min(size.homes, SWEEP_HOMES))
        swept = figures.sweep(document, small, text) if given.sweep else []
        curve = figures.overlaps(document, small, text) if given.sweep else []
    except ParametersError as error:
        raise Unusable(str(error), USAGE) from error
    whole = {"policy": document.title, **msgspec.to_builtins(found), "sweep": msgspec.to_builtins(swept)}
    whole["overlaps"] = msgspec.to_builtins(curve)
    page = _page(document, found, swept, curve)
    if given.report is not None:
        _write(given.report, whole, page)
    print(json.dumps(whole, ensure_ascii=False) if given.json else page)
    return OK if all(found.goals.values()) else NOT_MET


def _write(folder: Path, whole: object, page: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cohort.json").write_text(json.dumps(whole, ensure_ascii=False, indent=1) + "\n", "utf-8")
        (folder / "cohort.md").write_text(page + "\n", "utf-8")
    except OSError as error:
        raise Unusable(f"{str(folder)!r} cannot be written ({error.strerror}): give a folder", ENVIRONMENT) from error


def _page(
    document: Document, found: figures.Report, swept: list[figures.Swept], curve: list[figures.Swept]
) -> str:
    size = found.size
    lines = [
        f"# {document.title}",
        "",
        f"{size.homes} simulated homes, {size.years:g} years, seed {size.seed}; 95 % intervals.",
        "Assumptions: dispatch/cohort.toml. Nothing of it was measured on people.",
        "",
        "| goal | met |",
        "|---|---|",
        *(f"| {name} | {'yes' if met else 'NO'} |" for name, met in found.goals.items()),
        "",
        "| figure | events | policy | value | 95 % | n |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_row(row) for row in sorted(found.rows, key=lambda row: (*_place(row), row.kind != "all"))]
    if swept:
        titles = "value | cut, asked | cut, all | added s | missed | needless rings | goal |"
        lines += ["", f"| assumption | {titles}", "|---|---|---|---|---|---|---|---|", *map(_swept, swept)]
        lines += ["", f"| policy | {titles}", "|---|---|---|---|---|---|---|---|", *map(_swept, curve)]
        for name in figures.SWEEPS:
            edge = figures.holds_until(swept, name)
            lines += [f"\n{name}: the goal holds at {edge[0]:g} and no more at {edge[1]:g}."] if edge else []
    return "\n".join(lines)


def _swept(one: figures.Swept) -> str:
    return (
        f"| {one.parameter} | {one.value:g} | {one.cut_asked:.1%} | {one.cut_all:.1%} | {one.added_s:.1f} "
        f"| {one.missed:.2%} | {one.rings:.3f} | {'met' if one.met else 'NOT met'} |"
    )


def _place(row: figures.Row) -> tuple[int, str]:
    return list(MEASURES).index(row.measure.removesuffix("_against")), row.measure


def _row(row: figures.Row) -> str:
    name = MEASURES[row.measure.removesuffix("_against")] + (", against" if row.measure.endswith("_against") else "")
    interval = "" if row.ci_low is None else f"{_number(row, row.ci_low)} to {_number(row, row.ci_high)}"
    return f"| {name} | {row.kind} | {row.policy} | {_number(row, row.value)} | {interval} | {row.n} |"


def _number(row: figures.Row, value: float | None) -> str:
    if value is None:
        return ""
    share = "cut" in row.measure or row.measure.endswith("_share")
    return f"{value:.1%}" if share else f"{value:.1f}" if row.measure.endswith("_s") else f"{value:.3f}"
