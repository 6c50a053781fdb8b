"""What lets a browser be told while no page is open: its worker, and what makes the pages an app on a telephone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, send_from_directory

from service.web import frame, shield

FOLDER = Path(__file__).parent / "static"
WORKER = "service-worker.js"


def create_blueprint() -> Blueprint:
    """Build the blueprint of both files."""
    push = Blueprint("push", __name__)
    push.after_request(_shielded)
    push.app_context_processor(_for_templates)
    # From the root: a worker looks after pages below its own address only.
    push.add_url_rule(f"/{WORKER}", view_func=worker)
    push.add_url_rule("/manifest.webmanifest", view_func=manifest)
    return push


def _for_templates() -> dict[str, Any]:
    return {"push_key": getattr(frame.house().pusher, "public_key", None)}


def _shielded(response: Response) -> Response:
    return shield.protect(response, page=False)


def worker() -> Response:
    """The same for everybody, and asked after anew each time."""
    return send_from_directory(FOLDER, WORKER, mimetype="text/javascript", max_age=0)


def manifest() -> Response:
    """Some telephones push only to what was put on the home screen: this is what they put there."""
    t = frame.translator()
    said = {
        "name": t("brand"),
        "short_name": t("brand"),
        "lang": t.language,
        "id": "/",
        "start_url": "/",
        "scope": "/",
        "display": "standalone",
        "background_color": "#f4f3ef",
        "theme_color": "#0c5a5e",
        "icons": [{"src": "/assets/favicon.svg", "type": "image/svg+xml", "sizes": "any", "purpose": "any"}],
    }
    return Response(json.dumps(said, ensure_ascii=False), content_type="application/manifest+json")
