"""What a day costs is counted right, and no sum of money ever holds a page or a question back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from doors_stage import Stage, make_stage
from hypothesis import given, settings
from hypothesis import strategies as st
from test_links import cry, home, rows_of

from service.config import ConfigError, Settings
from service.workflows import spending

PRICES = {"ANSIM_VOICE_COST_PER_MINUTE": "100", "ANSIM_TEXT_COST": "20"}


@settings(max_examples=25, deadline=None)
@given(spent=st.lists(st.tuples(st.sampled_from(["voice", "text"]), st.integers(0, 10**13)), max_size=4))
def test_no_state_of_the_money_holds_a_page_or_an_ask(spent: list[tuple[str, int]]) -> None:
    with TemporaryDirectory() as folder:
        made = make_stage(Path(folder), **PRICES, ANSIM_SPEND_CAP_PER_DAY="0.5")
        try:
            patient_id, _ = home(made, "+821055550001")
            with made.house.database.write() as tx:
                for channel, cost in spent:
                    tx.spend(made.organisation_id, spending.day_of(made.clock()), channel, 1, cost)
            cry(made, patient_id)
            statuses = {row.status for row in rows_of(made, patient_id) if row.kind in {"page", "ask"}}
            assert statuses == {"sent"}
        finally:
            made.house.database.dispose()


@pytest.mark.parametrize("engine", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_sums_of_many_at_once_lose_nothing(tmp_path: Path, engine: str, request: pytest.FixtureRequest) -> None:
    urls = {}
    if engine == "postgres":
        fresh = request.getfixturevalue("postgres")
        urls = {"ANSIM_DATABASE_URL": fresh("ansim"), "ANSIM_KEYS_URL": fresh("keys")}
    stage = make_stage(tmp_path, **urls)

    def spend(_n: int) -> None:
        stage.house.committer.run(lambda tx: tx.spend(stage.organisation_id, day(stage), "text", 1, 20_000_000))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(spend, range(40)))
    record = spending.record(stage.house, stage.organisation_id)
    stage.house.database.dispose()
    assert [(one.channel, one.messages, one.cost) for one in record.days] == [("text", 40, "800")]
    assert (record.spent_today, record.cap_per_day, record.holding) == ("800", None, False)


def day(stage: Stage) -> str:
    return spending.day_of(stage.clock())


def test_a_cap_without_prices_stops_the_start_with_a_sentence() -> None:
    with pytest.raises(ConfigError, match="ANSIM_VOICE_COST_PER_MINUTE"):
        Settings.from_env({"ANSIM_SPEND_CAP_PER_DAY": "1000"})


def test_whoever_pays_sees_the_days_and_others_do_not(tmp_path: Path) -> None:
    stage = make_stage(tmp_path, **PRICES, ANSIM_SPEND_CAP_PER_DAY="5000")
    stage.person("operator", login="op")
    stage.person("caregiver", login="care")
    operator, _ = stage.logged_in("op")
    seen = operator.get("/v1/spending")
    assert seen.status_code == 200
    assert seen.json == {
        "currency": "KRW", "cap_per_day": "5000", "spent_today": "0", "holding": False, "days": [],
    }  # fmt: skip
    caregiver, _ = stage.logged_in("care")
    assert caregiver.get("/v1/spending").status_code == 403
    stage.house.database.dispose()
