"""The yardstick of the ingest bench: a bare Flask POST that does nothing, served exactly like the product."""

from __future__ import annotations

import os

from flask import Flask, Response

from service.config import Settings
from service.tools.serve import serve


def create_app() -> Flask:
    app = Flask(__name__, static_folder=None)

    @app.post("/v1/readings")
    def nothing() -> Response:
        return Response(b"{}", content_type="application/json")

    @app.get("/healthz")
    def healthz() -> Response:
        return Response(b"{}", content_type="application/json")

    return app


if __name__ == "__main__":
    serve(Settings.from_env(os.environ), "service.tools.noop:create_app")
