"""The stage of every journey, on SQLite or, where asked for, on PostgreSQL."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from journey_stage import Lines, Stage

from service.workflows import people

LONGEST_S = 90


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A journey that hangs says so soon."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(LONGEST_S))


@pytest.fixture(autouse=True)
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords at the lowest cost: journeys are not about them."""
    quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(people, "_passwords", quick)
    monkeypatch.setattr(people, "_NOBODY", quick.hash("nobody has this password"))


@pytest.fixture
def make_stage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Stage]]:
    """Build the stage with settings of one's own; on the engine that the test is marked with."""
    stages: list[Stage] = []
    heard = Lines()
    logger = logging.getLogger("ansim")
    logger.addHandler(heard)
    logger.setLevel(logging.INFO)

    def make(engine: str = "sqlite", **env: str) -> Stage:
        urls = None
        if engine == "postgres":
            fresh = request.getfixturevalue("postgres")
            urls = (fresh("ansim"), fresh("keys"))
        stages.append(Stage(tmp_path / "data", monkeypatch, urls, **env))
        return stages[-1]

    yield make
    for stage in stages:
        stage.close()
    logger.removeHandler(heard)
    failed = getattr(request.node, "failed", False)
    for stage in [] if failed else stages:
        stage.watch.at_the_end(heard.lines)
        stage.database.dispose()


@pytest.fixture
def stage(request: pytest.FixtureRequest, make_stage: Callable[..., Stage]) -> Stage:
    return make_stage(getattr(request, "param", "sqlite"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Tell the fixtures whether the test itself failed, so that they do not add to the noise."""
    report = yield
    if call.when == "call" and report.failed:
        item.failed = True
    return report
