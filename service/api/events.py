"""The consoles' live stream: server-sent events, replayed from the table by Last-Event-ID."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from flask import Blueprint, Response, request
from sqlalchemy import Row
from sqlalchemy.exc import SQLAlchemyError

from service import access
from service.api.auth import credentials, house, viewer
from service.api.errors import Problem
from service.api.openapi import operation
from service.workflows import health, streams
from service.workflows.house import House, warn

blueprint = Blueprint("events", __name__)
BEAT_S = 3.0
"""A console that hears nothing for over 8 s says that its link is lost."""
LOOK_S = 0.25
LONGEST_S = 900.0
"""A stream ends after this and the browser comes back: a session that ended is noticed, a deploy drains."""


class Hub:
    """One reader of the event table for all the streams of this process."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._news = threading.Condition()
        self._latest = 0
        self._streams = 0
        self._started = False
        self._most = max(4, house.settings.threads // 2)

    def enter(self) -> None:
        with self._news:
            if self._streams >= self._most:
                raise Problem(
                    503, "streams_full", "too many open streams; poll /v1/incidents instead", retry_after_s=5
                )
            self._streams += 1
            if not self._started:
                self._started = True
                threading.Thread(target=self._watch, name="events", daemon=True).start()

    def leave(self) -> None:
        with self._news:
            self._streams -= 1

    def wait(self, after: int, timeout_s: float) -> bool:
        """True as soon as there is something later than ``after``."""
        with self._news:
            return self._news.wait_for(lambda: self._latest > after, timeout_s)

    def _watch(self) -> None:
        while self._wanted():
            try:
                latest = streams.last_cursor(self._house)
            except SQLAlchemyError as error:
                # Streams keep their beat off while we are blind: consoles must see a lost link.
                warn("events_blind", why=type(error).__name__)
            else:
                with self._news:
                    if latest > self._latest:
                        self._latest = latest
                        self._news.notify_all()
            time.sleep(LOOK_S)


    def _wanted(self) -> bool:
        """Whether anybody still listens; the next to come starts the reader again."""
        with self._news:
            self._started = self._streams > 0
            return self._started


@blueprint.get("/v1/events")
@operation(
    "The live stream of incidents and conditions (server-sent events)",
    responses={200: None, 401: None, 403: None, 503: None},
    query={"after": "event id to start after, for clients that cannot send Last-Event-ID"},
    content_type="text/event-stream",
)
def stream() -> Response:
    """Everything after Last-Event-ID, then live; a beat every 3 s."""
    watcher = viewer("incidents:read")
    after = _mark(streams.last_cursor(house()))
    hub = streams_hub(house())
    hub.enter()
    lines = _lines(hub, house(), after, *_watchers_eyes(watcher, house()))
    response = Response(lines, content_type="text/event-stream")
    response.call_on_close(hub.leave)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _watchers_eyes(watcher: access.Viewer, built: House) -> tuple[Callable[[Row[Any]], bool], Callable[[], bool]]:
    """What this watcher is told of, and whether they still may listen: looked up anew at every beat."""
    secret, is_key = credentials()

    def still_may() -> bool:
        again = access.viewer_from_key(built, secret) if is_key else access.viewer_from_cookie(built, secret)
        return again is not None and (again.roles, again.patients) == (watcher.roles, watcher.patients)

    return access.event_filter(watcher), still_may


def _mark(latest: int) -> int:
    """Where to go on; a mark from before a restore, or one nobody gave, means from now on."""
    text = request.headers.get("Last-Event-ID") or request.args.get("after") or ""
    given = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else latest
    return min(given, latest)


def streams_hub(built: House) -> Hub:
    hub: Hub = built.extras.setdefault("hub", Hub(built))
    return hub


def _lines(
    hub: Hub, built: House, after: int, wanted: Callable[[Row[Any]], bool], still_may: Callable[[], bool]
) -> Iterator[bytes]:
    started = time.monotonic()
    yield b"retry: 1000\n\n" + _beat(built, after)
    told = started
    while time.monotonic() - started < LONGEST_S:
        hub.wait(after, BEAT_S)
        rows = streams.after(built, after)
        for row in rows:
            after = row.cursor
            if wanted(row):
                told = time.monotonic()
                yield _event(row)
        # Other organisations' news must not keep this console waiting for its beat.
        if not rows or time.monotonic() - told >= BEAT_S:
            if not still_may():
                return  # logged out, revoked or no longer linked: the browser comes back and is told so
            told = time.monotonic()
            yield _beat(built, after)


def _beat(built: House, after: int) -> bytes:
    body = msgspec.json.encode({"now": built.clock(), "cursor": after, "calls": health.calls_go_out(built)})
    return b"event: beat\ndata: " + body + b"\n\n"


def _event(row: Row[Any]) -> bytes:
    body = msgspec.json.encode(
        {"kind": row.kind, "incident_id": row.incident_id, "patient_id": row.patient_id, "at": row.at}
    )
    return f"id: {row.cursor}\nevent: {row.kind}\ndata: ".encode() + body + b"\n\n"
