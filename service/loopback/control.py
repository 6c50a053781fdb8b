"""The levers behind the network: set up telephones, press keys, look at what was said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Blueprint, Response, jsonify, request

from service.loopback.calls import Call, Message
from service.loopback.network import LoopbackNetwork
from service.loopback.phones import Plan, normal_number, read_plan


def control_blueprint(network: LoopbackNetwork) -> Blueprint:
    """``/_phones``, ``/_calls``, ``/_messages``, ``/_network``, ``/_idle``."""
    control = Blueprint("control", __name__)
    control.register_error_handler(ValueError, lambda error: _refused(error, 400))
    control.register_error_handler(LookupError, lambda error: _refused(error, 409))
    _phone_routes(control, network)

    @control.get("/_calls")
    def calls() -> Response:
        return jsonify(_chosen(network.calls()))

    @control.delete("/_calls")
    def forget_calls() -> tuple[str, int]:
        network.forget_calls()
        return "", 204

    @control.get("/_messages")
    def messages() -> Response:
        return jsonify(_chosen(network.texts.all()))

    @control.delete("/_messages")
    def forget_messages() -> tuple[str, int]:
        network.texts.forget()
        return "", 204

    @control.get("/_network")
    def settings() -> Response:
        return jsonify(network.settings())

    @control.put("/_network")
    def configure() -> Response:
        network.configure(_body())
        return jsonify(network.settings())

    @control.get("/_idle")
    def idle() -> Response:
        return jsonify(network.idle())

    return control


def _phone_routes(control: Blueprint, network: LoopbackNetwork) -> None:
    @control.get("/_phones")
    def phones() -> Response:
        return jsonify(network.phones())

    @control.delete("/_phones")
    def forget_phones() -> tuple[str, int]:
        network.forget_phones()
        return "", 204

    @control.get("/_phones/<number>")
    def phone(number: str) -> Response:
        return jsonify(network.phone(normal_number(number)).as_json())

    @control.put("/_phones/<number>")
    def configure_phone(number: str) -> Response:
        return jsonify(network.configure_phone(number, _body()).as_json())

    @control.post("/_phones/<number>/press")
    def press(number: str) -> Response:
        return jsonify(network.press(normal_number(number), str(_body().get("digit", ""))).as_json())

    @control.post("/_phones/<number>/answer")
    def answer(number: str) -> Response:
        return jsonify(network.pick_up(normal_number(number)).as_json())

    @control.post("/_phones/<number>/hangup")
    def hang_up(number: str) -> Response:
        return jsonify(network.hang_up(normal_number(number)).as_json())

    @control.post("/_phones/<number>/ring")
    def ring(number: str) -> tuple[Response, int]:
        body = _body()
        plan = read_plan({"digits": body["digits"]}, Plan()) if "digits" in body else None
        digits = list(plan.digits) if plan else None
        return jsonify(network.ring_us(number, str(body.get("to", "")), digits).as_json()), 201


    @control.route("/_phones/<number>/text", methods=["POST", "PUT"])
    def write(number: str) -> tuple[Response, int]:
        body = _body()
        return jsonify(network.texts.text_us(number, str(body.get("to", "")), str(body.get("body", ""))).as_json()), 201


def _body() -> dict[str, Any]:
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        raise ValueError("the body must be a JSON object sent as application/json")
    return body


def _chosen(rows: Sequence[Call | Message]) -> list[dict[str, Any]]:
    """All rows, oldest first; ``?to=`` picks a number, ``?limit=`` keeps the newest."""
    to, limit = request.args.get("to"), request.args.get("limit", 0, int)
    if to:
        rows = [row for row in rows if row.to == to]
    return [row.as_json() for row in (rows[-limit:] if limit > 0 else rows)]


def _refused(error: Exception, status: int) -> tuple[Response, int]:
    return jsonify(error=str(error.args[0]) if error.args else "refused"), status
