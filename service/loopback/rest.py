"""Twilio's REST API, as far as calls and texts go: strict where the vendor is strict."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Any

from flask import Blueprint, Response, jsonify, request

from service.loopback import described
from service.loopback.calls import CARRIER_EVENTS, Call, Kind
from service.loopback.network import LoopbackNetwork
from service.loopback.phones import NUMBER
from service.loopback.resources import RestError, call_json, message_json, page_json
from service.loopback.weather import FailMode, Provider

UNDER_WAY = timedelta(minutes=2)
"""A call, or text, begins no later than this after it was asked for."""
INVALID_NUMBERS = {"+15005550001"}
"""Twilio's own magic number for "not a number"."""
LONGEST_TEXT = 1600


def rest_blueprint(network: LoopbackNetwork) -> Blueprint:
    """``/2010-04-01/Accounts/{sid}/...``"""
    api = Blueprint("rest", __name__, url_prefix="/2010-04-01/Accounts/<account_sid>")
    api.register_error_handler(RestError, RestError.response)

    @api.url_value_preprocessor
    def sign_in(_endpoint: str | None, values: dict[str, Any] | None) -> None:
        sid = (values or {}).pop("account_sid", "")
        given = request.authorization
        known = (
            given is not None
            and given.type == "basic"
            and hmac.compare_digest(
                f"{given.username}:{given.password}".encode(),
                f"{network.account_sid}:{network.auth_token}".encode(),
            )
        )
        if not known or sid != network.account_sid:
            raise RestError(401, 20003, "Authenticate")

    _call_routes(api, network)
    _message_routes(api, network)
    return api


def _call_routes(api: Blueprint, network: LoopbackNetwork) -> None:
    @api.post("/Calls.json")
    def create_call() -> tuple[Response, int]:
        _described(request.form, described.CREATE_CALL)
        details = _call_details()
        call = _through_weather(network, lambda: network.place(**details))
        return jsonify(call_json(call)), 201

    @api.get("/Calls.json")
    def list_calls() -> Response:
        _described(request.args, described.LIST_CALLS)
        to = request.args.get("To")
        calls = _newest(network.calls_to(to) if to else network.calls(), "StartTime")
        dates = {"StartTime": "start_time", "EndTime": "end_time"}
        return _page("calls", _filtered((call_json(call) for call in calls), dates))

    @api.get("/Calls/<sid>.json")
    def fetch_call(sid: str) -> Response:
        return jsonify(call_json(_found(network.call(sid))))

    @api.post("/Calls/<sid>.json")
    def update_call(sid: str) -> Response:
        _described(request.form, described.UPDATE_CALL)
        call = _found(network.call(sid))
        status = request.form.get("Status", "")
        if status not in {"completed", "canceled"}:
            raise RestError(400, 20001, "Status must be completed or canceled: redirecting is not built here")
        if not _through_weather(network, lambda: _end(network, call, status)):
            raise RestError(400, 21220, "Invalid call state")
        return jsonify(call_json(call))


def _message_routes(api: Blueprint, network: LoopbackNetwork) -> None:
    @api.post("/Messages.json")
    def create_message() -> tuple[Response, int]:
        _described(request.form, described.CREATE_MESSAGE)
        details = _message_details()
        message = _through_weather(network, lambda: network.texts.send(**details))
        return jsonify(message_json(message)), 201

    @api.get("/Messages.json")
    def list_messages() -> Response:
        _described(request.args, described.LIST_MESSAGES)
        to = request.args.get("To")
        texts = _newest(network.texts.to(to) if to else network.messages(), "DateSent")
        return _page("messages", _filtered((message_json(one) for one in texts), {"DateSent": "date_sent"}))

    @api.get("/Messages/<sid>.json")
    def fetch_message(sid: str) -> Response:
        return jsonify(message_json(_found(network.texts.one(sid))))


def _end(network: LoopbackNetwork, call: Call, status: str) -> bool:
    """``completed`` ends any call, ``canceled`` only one that nobody has answered."""
    if call.ended:
        return False
    if status == "canceled" or call.status != "in-progress":
        return network.take_back(call)
    network.end(call, "completed")
    return True


def _through_weather(network: LoopbackNetwork, act: Callable[[], Any]) -> Any:
    """Do it, unless the network was told to fail."""
    failure = network.weather.take(Provider.TWILIO)
    if failure is None:
        return act()
    if failure is FailMode.TOO_MANY:
        raise RestError(429, 20429, "Too Many Requests", network.weather.retry_after_s)
    if failure is FailMode.OUT_OF_CREDIT:
        raise RestError(403, 20005, "Account not active")
    if failure.acts:
        act()
    if failure.hangs:
        network.closing.wait(network.weather.hang_s)
    raise RestError(500, 20500, "An internal server error has occurred")


def _described(given: Iterable[str], known: frozenset[str]) -> None:
    name = described.unknown(given, known)
    if name is not None:
        raise RestError(400, 20001, f"{name[:40]} is no parameter of this request")


def _found(resource: Any) -> Any:
    if resource is None:
        raise RestError(404, 20404, f"The requested resource {request.path} was not found")
    return resource


def _call_details() -> dict[str, Any]:
    form = request.form
    to = _number("To", 21201, "No 'To' number is specified", 21211)
    from_ = _number("From", 21213, "No 'From' number is specified", 21212)
    url, twiml = form.get("Url"), form.get("Twiml")
    if not twiml and not url:
        raise RestError(400, 21205, "Url parameter is required.")
    _address("Url", 21205)
    _address("StatusCallback", 21609)
    for name in ("Method", "StatusCallbackMethod"):
        if form.get(name, "POST").upper() not in {"GET", "POST"}:
            raise RestError(400, 21206, f"{name} must be GET or POST")
    detection = form.get("MachineDetection")
    if detection not in {None, "Enable", "DetectMessageEnd"}:
        raise RestError(400, 20001, "MachineDetection must be Enable or DetectMessageEnd")
    events = [event for value in form.getlist("StatusCallbackEvent") for event in value.split()]
    if set(events) - CARRIER_EVENTS:
        raise RestError(400, 21626, "Invalid StatusCallbackEvent")
    return {
        "to": to,
        "from_": from_,
        "url": url or None,
        "method": form.get("Method", "POST").upper(),
        # Twilio lets Url win where both are given.
        "twiml": None if url else twiml,
        "status_url": form.get("StatusCallback") or None,
        "status_method": form.get("StatusCallbackMethod", "POST").upper(),
        "events": frozenset(events or ["completed"]),
        "ring_timeout_s": _whole("Timeout", 60, 1, 600),
        "machine_detection": detection,
    }


def _message_details() -> dict[str, Any]:
    form = request.form
    to = _number("To", 21604, "A 'To' phone number is required.", 21211)
    service = form.get("MessagingServiceSid")
    if service and "From" not in form:
        from_ = ""
    else:
        from_ = _number("From", 21603, "A 'From' phone number is required.", 21212)
    body = form.get("Body", "")
    if not body:
        raise RestError(400, 21602, "Message body is required.")
    if len(body) > LONGEST_TEXT:
        raise RestError(400, 21617, "The concatenated message body exceeds the 1600 character limit.")
    _address("StatusCallback", 21609)
    return {
        "to": to,
        "from_": from_,
        "body": body,
        "valid_s": _whole("ValidityPeriod", 36_000, 1, 36_000),
        "status_url": form.get("StatusCallback") or None,
        "messaging_service_sid": service,
    }


def _number(name: str, missing: int, words: str, invalid: int) -> str:
    number: str = request.form.get(name, "")
    if not number:
        raise RestError(400, missing, words)
    if not NUMBER.fullmatch(number) or number in INVALID_NUMBERS:
        raise RestError(400, invalid, f"The '{name}' number {number} is not a valid phone number.")
    return number


def _address(name: str, code: int) -> None:
    value = request.form.get(name)
    if value and not value.startswith(("http://", "https://")):
        raise RestError(400, code, f"{name} is not a valid URL: {value}")


def _whole(name: str, usual: int, low: int, high: int) -> int:
    text: str = request.form.get(name, str(usual))
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        raise RestError(400, 20001, f"{name} must be a whole number from {low} to {high}")
    return int(text)


def _newest(kept: Sequence[Kind], date: str) -> Iterator[Kind]:
    """This provider's, newest first, as far back as ``date`` may ask for."""
    text = request.args.get(f"{date}>")
    oldest = _moment(text) - UNDER_WAY if text else None
    ours = (one for one in reversed(kept) if one.provider is Provider.TWILIO)
    return takewhile(lambda one: oldest is None or one.times["created"] >= oldest, ours)


def _filtered(rows: Iterable[dict[str, Any]], dates: dict[str, str]) -> Iterator[dict[str, Any]]:
    """One after another: of thousands no more are written out than the page shows."""
    equal = {name.lower(): request.args[name] for name in ("From", "Status") if request.args.get(name)}
    spans = [
        (key, suffix, request.args[name + suffix])
        for name, key in dates.items()
        for suffix in ("", "<", ">")
        if request.args.get(name + suffix)
    ]
    for row in rows:
        if all(row[key] == wanted for key, wanted in equal.items()) and all(
            row[key] and _fits(row[key], suffix, text) for key, suffix, text in spans
        ):
            yield row


def _fits(value: str, suffix: str, text: str) -> bool:
    at = datetime.strptime(value, "%a, %d %b %Y %H:%M:%S %z")
    wanted = _moment(text)
    if suffix == "<":
        return at <= wanted
    if suffix == ">":
        return at >= wanted
    lasts = timedelta(days=1) if len(text) == len("2026-01-31") else timedelta(seconds=1)
    return wanted <= at < wanted + lasts


def _moment(text: str) -> datetime:
    try:
        wanted = datetime.fromisoformat(text)
    except ValueError:
        raise RestError(400, 20001, f"dates must be YYYY-MM-DD or RFC 3339, was {text[:40]}") from None
    return wanted if wanted.tzinfo else wanted.replace(tzinfo=UTC)


def _page(key: str, rows: Iterator[dict[str, Any]]) -> Response:
    size = min(max(request.args.get("PageSize", 50, int), 1), 1000)
    page = max(request.args.get("Page", 0, int), 0)
    query = [(name, value) for name, value in request.args.items() if name not in {"Page", "PageSize"}]
    shown = list(islice(rows, page * size, (page + 1) * size))
    more = next(rows, None) is not None
    return jsonify(page_json(key, request.path, query, shown, page, size, more=more))
