"""SOLAPI's door to the same telephones: sending calls and texts, and looking them up."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Blueprint, Response, jsonify, request

from service.loopback.calls import Call, Message, new_sid, now
from service.loopback.network import LoopbackNetwork
from service.loopback.phones import NUMBER
from service.loopback.voice_messages import RING_S, VoiceMessage, common
from service.loopback.weather import FailMode, Provider

AUTHORIZATION = re.compile(
    r"HMAC-SHA256 apikey=([^,\s]+), *date=([^,\s]+), *salt=([^,\s]{12,64}), *signature=([0-9a-f]{64})", re.IGNORECASE
)
APART = timedelta(minutes=15)
"""How far the date of a request may be off."""
TAKEN = "2000"
REFUSED = "1010"
KINDS = {"SMS": 90, "LMS": 2000, "VOICE": 2000}
"""Kinds of message, with the most bytes of EUC-KR that each takes."""
BODY = {"messages", "scheduledDate", "showMessageList", "allowDuplicates", "appId", "agent", "strict"}
MESSAGE = {"to", "from", "text", "country", "type", "autoTypeDetect", "subject", "customFields", "voiceOptions"}
VOICE = {"voiceType", "headerMessage", "tailMessage", "replyRange", "counselorNumber"}
QUERY = {"startKey", "limit", "messageId", "groupId", "from", "to", "type", "statusCode"}
QUERY |= {"dateType", "startDate", "endDate"}
SALTS = 10_000


class SolapiError(Exception):
    """A refusal in SOLAPI's own shape."""

    def __init__(self, status: int, code: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after_s = status, code, retry_after_s

    def response(self) -> Response:
        answer = jsonify(errorCode=self.code, errorMessage=str(self))
        answer.status_code = self.status
        if self.retry_after_s:
            answer.headers["Retry-After"] = f"{self.retry_after_s:.0f}"
        return answer


def solapi_blueprint(network: LoopbackNetwork) -> Blueprint:
    """``/messages/v4/...``"""
    api = Blueprint("solapi", __name__, url_prefix="/messages/v4")
    api.register_error_handler(SolapiError, SolapiError.response)
    salts: OrderedDict[str, None] = OrderedDict()

    @api.before_request
    def sign_in() -> None:
        _authenticate(network, salts)

    @api.post("/send-many/detail")
    def send_many() -> Response:
        messages = _messages(request.get_json(silent=True))
        failure = network.weather.take(Provider.SOLAPI)
        if failure is None or failure.acts:
            sent = [_take(network, message) for message in messages]
        if failure is None:
            return jsonify(_sent(network, sent))
        raise _failed(network, failure)

    @api.get("/list")
    @api.get("/list-old")
    def list_messages() -> Response:
        return jsonify(_listed(network))

    return api


def _authenticate(network: LoopbackNetwork, salts: OrderedDict[str, None]) -> None:
    found = AUTHORIZATION.fullmatch(request.headers.get("Authorization", ""))
    if not network.solapi_key or found is None:
        raise SolapiError(401, "Unauthorized", "authorization is missing or malformed")
    key, date, salt, signature = found.groups()
    if key != network.solapi_key:
        raise SolapiError(403, "InvalidApiKey", "no such API key")
    wanted = hmac.new(network.solapi_secret.encode(), (date + salt).encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(wanted, signature.lower()):
        raise SolapiError(403, "SignatureDoesNotMatch", "the signature does not fit")
    at = datetime.fromisoformat(date)
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if abs(now() - at) > APART:
        raise SolapiError(403, "RequestTimeTooSkewed", "the date is too far off")
    if salt in salts:
        raise SolapiError(403, "DuplicatedSignature", "this salt has been used")
    salts[salt] = None
    if len(salts) > SALTS:
        salts.popitem(last=False)


def _failed(network: LoopbackNetwork, failure: FailMode) -> SolapiError:
    if failure is FailMode.TOO_MANY:
        return SolapiError(429, "TooManyRequests", "too many requests", network.weather.retry_after_s)
    if failure is FailMode.OUT_OF_CREDIT:
        return SolapiError(402, "NotEnoughBalance", "잔액이 부족합니다.")
    if failure.hangs:
        network.closing.wait(network.weather.hang_s)
    return SolapiError(500, "InternalError", "an unexpected error occurred")


def _messages(body: Any) -> list[dict[str, Any]]:
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list) or not body["messages"]:
        raise SolapiError(400, "ValidationError", "messages must be a list with at least one message")
    _only(body, BODY, "the body")
    for message in body["messages"]:
        if not isinstance(message, dict):
            raise SolapiError(400, "ValidationError", "a message must be an object")
        _only(message, MESSAGE, "a message")
        _check(message)
    return list(body["messages"])


def _only(given: Mapping[str, Any], known: set[str], what: str) -> None:
    unknown = sorted(set(given) - known)
    if unknown:
        raise SolapiError(400, "ValidationError", f"{what} has no {unknown[0][:40]}")


def _check(message: Mapping[str, Any]) -> None:
    text, fields, voice = message.get("text"), message.get("customFields") or {}, message.get("voiceOptions")
    if not isinstance(text, str) or not text:
        raise SolapiError(400, "ValidationError", "text must not be empty")
    if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
        raise SolapiError(400, "ValidationError", "customFields must be texts by name")
    kind = message.get("type") or ("VOICE" if voice else "SMS" if _size(text) <= KINDS["SMS"] else "LMS")
    if kind not in KINDS or (kind == "VOICE") != (voice is not None):
        raise SolapiError(400, "ValidationError", f"type must be one of {', '.join(KINDS)}, and fit voiceOptions")
    if _size(text) > KINDS[kind]:
        raise SolapiError(400, "ValidationError", f"text of {kind} must be at most {KINDS[kind]} bytes")
    if voice is not None:
        _check_voice(voice)


def _check_voice(voice: Any) -> None:
    if not isinstance(voice, dict) or voice.get("voiceType") not in {"FEMALE", "MALE"}:
        raise SolapiError(400, "ValidationError", "voiceType must be FEMALE or MALE")
    _only(voice, VOICE, "voiceOptions")
    reply = voice.get("replyRange")
    if reply is not None and (isinstance(reply, bool) or reply not in range(1, 10)):
        raise SolapiError(400, "ValidationError", "replyRange must be from 1 to 9")
    if reply is not None and voice.get("counselorNumber") is not None:
        raise SolapiError(400, "ValidationError", "replyRange and counselorNumber exclude each other")
    if voice.get("headerMessage") or voice.get("tailMessage") or voice.get("counselorNumber"):
        raise SolapiError(400, "ValidationError", "header, tail and counsellor are not built here")


def _size(text: str) -> int:
    return len(text.encode("cp949", errors="replace"))


def _number(message: Mapping[str, Any], name: str) -> str | None:
    """A number as dialled inside Korea, in E.164; None when it is not one."""
    digits = str(message.get(name) or "").replace("-", "")
    number = f"+82{digits[1:]}"
    return number if digits.startswith("0") and digits.isdigit() and NUMBER.fullmatch(number) else None


def _take(network: LoopbackNetwork, message: Mapping[str, Any]) -> dict[str, Any]:
    to, from_ = _number(message, "to"), _number(message, "from")
    fields, group_id = dict(message.get("customFields") or {}), new_sid("G4V")
    if to is None or from_ is None:
        return {
            "to": message.get("to"),
            "from": message.get("from"),
            "type": message.get("type") or "SMS",
            "statusCode": REFUSED,
            "statusMessage": "the number cannot be used",
            "country": "82",
            "messageId": new_sid("M4V"),
            "accountId": "loopback",
            "customFields": fields,
        }
    voice, message_id = message.get("voiceOptions"), new_sid("M4V")
    if voice is None:
        network.send(
            Provider.SOLAPI,
            to=to,
            from_=from_,
            body=message["text"],
            valid_s=0,
            status_url=None,
            sid=message_id,
            custom_fields=fields,
            group_id=group_id,
        )
    else:
        words = VoiceMessage(message["text"], voice.get("replyRange"), group_id, fields)
        network.speak(words, to=to, from_=from_, sid=message_id, ring_timeout_s=RING_S)
    return {"messageId": message_id, "statusCode": TAKEN, "statusMessage": "정상 접수", "customFields": fields}


def _sent(network: LoopbackNetwork, rows: list[dict[str, Any]]) -> dict[str, Any]:
    refused = [row for row in rows if row["statusCode"] == REFUSED]
    taken = [row for row in rows if row["statusCode"] == TAKEN]
    today, zero = now().isoformat(), {"requested": 0, "replacement": 0, "refund": 0, "sum": 0}
    count = {
        "total": len(rows),
        "sentTotal": 0,
        "sentSuccess": 0,
        "sentPending": 0,
        "sentReplacement": 0,
        "refund": 0,
        "registeredFailed": len(refused),
        "registeredSuccess": len(taken),
    }
    group = {
        "count": count,
        "countForCharge": {},
        "balance": zero,
        "point": zero,
        "app": {"profit": {}, "appId": None},
        "log": [],
        "status": "SENDING",
        "allowDuplicates": False,
        "isRefunded": False,
        "accountId": "loopback",
        "masterAccountId": None,
        "apiVersion": "4",
        "groupId": f"G4V{secrets.token_hex(8)}",
        "price": {},
        "dateCreated": today,
        "dateUpdated": today,
    }
    shown = taken if (request.get_json(silent=True) or {}).get("showMessageList") else None
    return {"failedMessageList": refused, "groupInfo": group, "messageList": shown}


def _listed(network: LoopbackNetwork) -> dict[str, Any]:
    query = request.args
    unknown = sorted(set(query) - QUERY)
    if unknown:
        raise SolapiError(400, "ValidationError", f"the query has no {unknown[0][:40]}")
    everything: list[Call | Message] = [*network.calls(), *network.messages()]
    rows = [_row(one) for one in everything if one.provider is Provider.SOLAPI]
    for name in ("to", "from", "type", "messageId", "groupId", "statusCode"):
        if query.get(name):
            rows = [row for row in rows if row[name] == query[name]]
    for name, keeps in (("startDate", True), ("endDate", False)):
        if query.get(name):
            limit = _date(query[name])
            rows = [row for row in rows if (_date(row["dateCreated"]) >= limit) is keeps]
    limit_n = max(1, min(500, query.get("limit", 20, int)))
    rows = sorted(rows, key=lambda row: row["dateCreated"], reverse=True)[:limit_n]
    return {"limit": limit_n, "messageList": {row["messageId"]: row for row in rows}, "startKey": None, "nextKey": None}


def _date(text: str) -> datetime:
    try:
        # A plus that was not quoted arrives as a space.
        at = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise SolapiError(400, "ValidationError", "dates must be ISO 8601") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _row(one: Call | Message) -> dict[str, Any]:
    created = one.times["created"].isoformat()
    if isinstance(one, Message):
        return {**one.solapi_report(), "dateCreated": created, "text": one.body, "country": "82"}
    voice = one.voice_message or VoiceMessage("")
    row = common(one.sid, voice.group_id, "VOICE", one.to, one.from_, voice.custom_fields)
    row |= {"statusCode": "3000", "voiceReplied": False, "voiceDuration": 0}
    if one.ended:
        row |= voice.report(one)
    return {**row, "dateCreated": created, "text": voice.text, "country": "82"}
