"""Fifty clients claim one case over HTTP at the same instant, and exactly one has it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from doors_stage import Stage, make_stage
from test_links import cry
from werkzeug.serving import make_server

from service.workflows import records

CLIENTS = 50


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    urls = {}
    if request.param == "postgres":
        fresh = request.getfixturevalue("postgres")
        urls = {"ANSIM_DATABASE_URL": fresh("ansim"), "ANSIM_KEYS_URL": fresh("keys")}
    made = make_stage(tmp_path, **urls)
    yield made
    made.house.database.dispose()


@pytest.mark.parametrize("action", ["claim", "acknowledge"])
def test_fifty_clients_reach_for_one_case_and_exactly_one_wins(stage: Stage, action: str) -> None:
    incident_id = cry(stage, stage.patient())
    keys = [stage.key("incidents:read", "incidents:write") for _ in range(CLIENTS)]
    server = make_server("127.0.0.1", 0, stage.app, threaded=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1/incidents/{incident_id}/{action}"
    start = threading.Barrier(CLIENTS)

    def reach(headers: dict[str, str]) -> int:
        start.wait()
        return requests.post(url, headers=headers, timeout=60).status_code

    try:
        with ThreadPoolExecutor(CLIENTS) as pool:
            answers = list(pool.map(reach, keys))
    finally:
        server.shutdown()
        server.server_close()
    assert sorted(answers) == [200] + [409] * (CLIENTS - 1)
    record = records.incident(stage.house, incident_id, "en")
    done = "claimed" if action == "claim" else "acknowledged"
    assert [line.what for line in record.log].count(done) == 1
    assert record.owner is not None
