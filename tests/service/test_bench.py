import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from service import cli
from service.tools import load
from service.tools.doctor import NotReady


def test_a_short_ingest_round_reports_what_the_contract_asks(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "ingest", "--rounds", "2", "--uploads", "40", "--devices", "8", "--connections", "4", "--json"]
    assert cli.main(words) == 0
    told = json.loads(capsys.readouterr().out)
    wanted = {"name", "value", "unit", "yardstick", "yardstick_value", "ratio", "rounds", "machine", "commit"}
    assert wanted <= set(told)
    assert {"p50_ms", "p99_ms", "yardstick_p50_ms", "yardstick_p99_ms"} <= set(told)
    assert (told["name"], told["rounds"], len(told["ratios"])) == ("ingest", 2, 2)
    assert 0 < told["ratio"] == pytest.approx(told["value"] / told["yardstick_value"], abs=0.001)


def test_a_bench_of_another_name_is_a_usage_error() -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["bench", "nothing"])
    assert left.value.code == 2


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200 if body != b"bad" else 422)
        self.send_header("content-LENGTH", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_burst_gives_every_answer_in_the_order_of_the_requests(echo: str) -> None:
    bodies = [b"x" * n for n in range(1, 60)] + [b"bad"]
    requests = [load.request_bytes("/", "here", {"A": "b"}, body) for body in bodies]
    lanes = [range(lane, len(bodies), 7) for lane in range(7)]
    met = load.burst(echo, requests, lanes)
    assert met.bodies == bodies
    assert met.statuses == [200] * 59 + [422]
    assert all(latency > 0 for latency in met.latencies_s)
    assert met.percentile_ms(50) <= met.percentile_ms(99)


def test_an_answer_without_a_length_is_refused_by_the_load_generator() -> None:
    with pytest.raises(NotReady, match="content-length"):
        load._content_length(b"HTTP/1.1 200 OK\r\nServer: x")
