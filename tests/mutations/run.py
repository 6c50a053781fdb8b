"""Break each gate in turn, in a copy of the tree, and see that the test named beside it notices.

Entries lie in the ``*.toml`` files of this folder: ``[[mutation]]`` with ``file``, ``find`` (text that occurs there
once), ``replace``, ``test`` (a pytest id) and, if wanted, ``why`` and ``invariant`` (its number in
tests/dispatch/test_invariants_listed.py). ``make mutations`` runs them all.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
LONGEST_S = 300
_COPIED = ("devices", "dispatch", "service", "tests", "pyproject.toml", "README.md", "CHANGELOG.md", "Makefile")
PASSED, FAILED = 0, 1
"""pytest's exit codes; anything else means that no test ran."""


@dataclass(frozen=True, slots=True)
class Mutation:
    layer: str
    file: str
    find: str
    replace: str
    test: str

    def problem(self, root: Path = ROOT) -> str | None:
        """What keeps this entry from meaning anything."""
        path = root / self.file
        if not path.is_file():
            return f"{self.file} does not exist"
        times = path.read_text("utf-8").count(self.find)
        if times != 1:
            return f"{self.find!r} occurs {times} times in {self.file}, expected once"
        if self.find == self.replace:
            return f"{self.find!r} is replaced by itself"
        test = root / self.test.partition("::")[0]
        name = self.test.rpartition("::")[2].partition("[")[0]
        if not test.is_file() or f"def {name}(" not in test.read_text("utf-8"):
            return f"test {self.test} does not exist"
        return None

    def __str__(self) -> str:
        return f"{self.file}: {self.find.strip()!r} -> {self.replace.strip()!r}"


def mutations(folder: Path = FOLDER, layers: Sequence[str] = ()) -> list[Mutation]:
    """Every entry of every layer's file."""
    found = []
    for path in sorted(folder.glob("*.toml")):
        if not layers or path.stem in layers:
            for one in tomllib.loads(path.read_text("utf-8")).get("mutation", ()):
                found.append(Mutation(path.stem, one["file"], one["find"], one["replace"], one["test"]))
    return found


@contextmanager
def copy_of_the_tree(root: Path = ROOT) -> Iterator[Path]:
    """A copy that may be broken, beside the same recordings."""
    with tempfile.TemporaryDirectory(prefix="ansim-mutation-") as scratch:
        tree = Path(scratch) / root.name
        tree.mkdir()
        for name in _COPIED:
            source = root / name
            if source.is_dir():
                shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.is_file():
                shutil.copy2(source, tree / name)
        shared = root.parent / "shared"
        if shared.is_dir():
            (tree.parent / "shared").symlink_to(shared)
        yield tree


def run_tests(tree: Path, tests: Sequence[str]) -> tuple[int, str]:
    """pytest's exit code and what it said."""
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "MUTATED": "yes"}
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment.setdefault(name, "1")
    asked = [sys.executable, "-m", "pytest", "-x", "-rs", "-p", "no:randomly", *tests]
    try:
        done = subprocess.run(asked, cwd=tree, env=environment, capture_output=True, text=True, timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        return FAILED, "ran into the time limit"
    return done.returncode, done.stdout + done.stderr


def verdict(tree: Path, mutation: Mutation) -> str | None:
    """Break the tree, run the test, mend the tree; None if the test noticed, else what happened."""
    path = tree / mutation.file
    whole = path.read_text("utf-8")
    path.write_text(whole.replace(mutation.find, mutation.replace), "utf-8")
    try:
        code, said = run_tests(tree, [mutation.test])
    finally:
        path.write_text(whole, "utf-8")
    if code == FAILED:
        return None
    if code == PASSED and " skipped" in said and " passed" not in said:
        return "skipped: " + next((line for line in said.splitlines() if "SKIPPED" in line), "the test did not run")
    return "NOT NOTICED" if code == PASSED else f"proves nothing, pytest ended with {code}: {said[-400:]}"


def run(chosen: Sequence[Mutation], jobs: int) -> dict[Mutation, str | None]:
    """Verdict of each; the tests must pass before anything is broken."""
    results: dict[Mutation, str | None] = {one: one.problem() for one in chosen}
    sound = [one for one, problem in results.items() if problem is None]
    trees: SimpleQueue[Path] = SimpleQueue()

    def judge(one: Mutation) -> str | None:
        tree = trees.get()
        try:
            return verdict(tree, one)
        finally:
            trees.put(tree)

    with copy_of_the_tree() as first, copy_of_the_tree() as second:
        code, said = run_tests(first, sorted({one.test for one in sound})) if sound else (PASSED, "")
        if code != PASSED:
            return results | dict.fromkeys(sound, f"the tests fail before anything is broken: {said[-600:]}")
        for tree in (first, second)[:jobs]:
            trees.put(tree)
        with ThreadPoolExecutor(max_workers=min(jobs, 2)) as pool:
            results |= dict(zip(sound, pool.map(judge, sound), strict=True))
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description="Break each gate in turn and see that a test notices.")
    parser.add_argument("layer", nargs="*", help="names of the files here, without .toml; all without one")
    parser.add_argument("--jobs", type=int, default=1, choices=(1, 2))
    given = parser.parse_args()
    chosen = mutations(layers=given.layer)
    results = run(chosen, given.jobs)
    for one, problem in results.items():
        print(f"{'noticed' if problem is None else problem:<12} {one}")
    unnoticed = [one for one, problem in results.items() if problem is not None and not problem.startswith("skipped")]
    print(f"{len(chosen) - len(unnoticed)} of {len(chosen)} broken gates noticed or not testable here")
    return 1 if unnoticed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
