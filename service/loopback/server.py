"""The network on a port: in a thread for tests, or as the whole process."""

from __future__ import annotations

import threading
from email.utils import format_datetime
from importlib.resources import files
from types import TracebackType
from typing import Any, Self

from flask import Flask, Response
from werkzeug.serving import WSGIRequestHandler, make_server

from service.loopback.calls import now
from service.loopback.control import control_blueprint
from service.loopback.network import LoopbackNetwork
from service.loopback.rest import rest_blueprint
from service.loopback.solapi import solapi_blueprint

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"


class _SilentHandler(WSGIRequestHandler):
    """Access lines would hold telephone numbers."""

    def log_request(self, *_args: Any, **_kwargs: Any) -> None:
        """Say nothing."""

    def date_time_string(self, _timestamp: float | None = None) -> str:
        """The network's own time: by it and by when a call was made the service reckons how old that is."""
        return format_datetime(now(), usegmt=True)


def create_app(network: LoopbackNetwork) -> Flask:
    """The REST API, the levers and the page over one network."""
    app = Flask(__name__, static_folder=None)
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.register_blueprint(rest_blueprint(network))
    app.register_blueprint(solapi_blueprint(network))
    app.register_blueprint(control_blueprint(network))
    page = (files(__package__) / "page.html").read_text(encoding="utf-8")

    @app.get("/")
    def show() -> Response:
        answer = Response(page, mimetype="text/html")
        answer.headers["Content-Security-Policy"] = POLICY
        return answer

    return app


class LoopbackServer:
    """Serves a network on ``host:port`` (0 picks a free port) from a thread of its own."""

    def __init__(self, network: LoopbackNetwork, host: str = "127.0.0.1", port: int = 0) -> None:
        self.network = network
        self._server = make_server(
            host, port, create_app(network), threaded=True, request_handler=_SilentHandler
        )
        self.port = self._server.server_port
        self.url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{self.port}"
        self._thread = threading.Thread(target=self._serve, name="loopback-http", daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    def _serve(self) -> None:
        self._server.serve_forever(poll_interval=0.05)

    def stop(self) -> None:
        self.network.close()
        self._server.shutdown()
        self._thread.join(timeout=5)
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
