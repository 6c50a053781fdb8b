import importlib.util
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "mutations"


def load():
    spec = importlib.util.spec_from_file_location("mutation_run", FOLDER / "run.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutation_run"] = module
    spec.loader.exec_module(module)
    return module


mutation_run = load()
ALL = mutation_run.mutations()
PROVEN = ("CLEAR_SHARE", "HARD_BIT.get")
"""Gates that are broken in every run of the tests: the rest by `make mutations`."""


@pytest.mark.parametrize("mutation", ALL, ids=lambda one: f"{one.layer}: {one.find.strip()[:50]}")
def test_every_mutation_finds_its_text_once_and_names_a_test(mutation) -> None:
    assert mutation.problem() is None


def test_broken_gates_are_noticed() -> None:
    chosen = [one for one in ALL if one.layer == "fusion" and any(word in one.find for word in PROVEN)]
    assert len(chosen) == 2
    assert mutation_run.run(chosen, 1) == dict.fromkeys(chosen)


def test_a_mutation_that_changes_nothing_is_not_counted_as_noticed() -> None:
    same = mutation_run.Mutation(
        "none", "service/detection/segments.py", "_APART = 2**44", "_APART = 2**45",
        "tests/test_mutations.py::test_every_mutation_finds_its_text_once_and_names_a_test",
    )  # fmt: skip
    with mutation_run.copy_of_the_tree() as tree:
        assert mutation_run.verdict(tree, same) == "NOT NOTICED"
        assert (tree / same.file).read_text("utf-8") == (mutation_run.ROOT / same.file).read_text("utf-8")
