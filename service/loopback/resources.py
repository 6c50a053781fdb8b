"""Calls, texts and errors in the shapes of Twilio's REST API."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from flask import Response, jsonify

from service.loopback.calls import Call, Message

VERSION = "2010-04-01"
CALL_PARTS = {
    "events": "Events",
    "notifications": "Notifications",
    "payments": "Payments",
    "recordings": "Recordings",
    "siprec": "Siprec",
    "streams": "Streams",
    "transcriptions": "Transcriptions",
    "user_defined_messages": "UserDefinedMessages",
    "user_defined_message_subscriptions": "UserDefinedMessageSubscriptions",
}
# What a minute and a text cost here: invented, so that costs can be shown (policy).
MINUTE_USD, TEXT_USD = 0.0354, 0.0494


class RestError(Exception):
    """A refusal in Twilio's own shape."""

    def __init__(self, status: int, code: int, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.status = status
        self.code = code

    def response(self) -> Response:
        answer = jsonify(
            code=self.code,
            message=str(self),
            more_info=f"https://www.twilio.com/docs/errors/{self.code}",
            status=self.status,
        )
        answer.status_code = self.status
        if self.retry_after_s:
            answer.headers["Retry-After"] = f"{self.retry_after_s:.0f}"
        return answer


@lru_cache(10_000)
def rfc2822(at: datetime | None) -> str | None:
    return format_datetime(at) if at else None


def call_json(call: Call) -> dict[str, Any]:
    uri = f"/{VERSION}/Accounts/{call.account_sid}/Calls/{call.sid}"
    times = call.times
    answered = "answered" in times
    price = None
    if call.ended:
        price = f"-{-(-(call.duration_s or 0) // 60) * MINUTE_USD:.5f}" if answered else "0.00000"
    return {
        "account_sid": call.account_sid,
        "annotation": None,
        "answered_by": call.answered_by,
        "api_version": VERSION,
        "caller_name": None,
        "date_created": rfc2822(times["created"]),
        "date_updated": rfc2822(max(times.values())),
        "direction": call.direction,
        "duration": str(call.duration_s) if call.duration_s is not None else None,
        "end_time": rfc2822(times.get("ended")),
        "forwarded_from": None,
        "from": call.from_,
        "from_formatted": call.from_,
        "group_sid": None,
        "parent_call_sid": call.parent.sid if call.parent else None,
        "phone_number_sid": None,
        "price": price,
        "price_unit": "USD",
        "queue_time": "0",
        "sid": call.sid,
        "start_time": rfc2822(times.get("initiated") or times.get("ringing")),
        "status": call.status,
        "subresource_uris": {name: f"{uri}/{part}.json" for name, part in CALL_PARTS.items()},
        "to": call.to,
        "to_formatted": call.to,
        "trunk_sid": None,
        "uri": f"{uri}.json",
    }


def message_json(message: Message) -> dict[str, Any]:
    uri = f"/{VERSION}/Accounts/{message.account_sid}/Messages/{message.sid}"
    segments = -(-len(message.body) // 67) if len(message.body) > 70 else 1
    error = "Unreachable destination handset" if message.error_code else None
    return {
        "account_sid": message.account_sid,
        "api_version": VERSION,
        "body": message.body,
        "date_created": rfc2822(message.times["created"]),
        "date_sent": rfc2822(message.times.get("sent")),
        "date_updated": rfc2822(max(message.times.values())),
        "direction": message.direction,
        "error_code": message.error_code,
        "error_message": error,
        "from": message.from_,
        "messaging_service_sid": message.messaging_service_sid,
        "num_media": "0",
        "num_segments": str(segments),
        "price": f"-{segments * TEXT_USD:.5f}" if message.ended else None,
        "price_unit": "USD",
        "sid": message.sid,
        "status": message.status,
        "subresource_uris": {"media": f"{uri}/Media.json"},
        "to": message.to,
        "uri": f"{uri}.json",
    }


def page_json(
    key: str,
    path: str,
    query: Sequence[tuple[str, str]],
    shown: Sequence[dict[str, Any]],
    page: int,
    size: int,
    *,
    more: bool,
) -> dict[str, Any]:
    """One page of a list; ``more``: others follow."""

    def uri(number: int) -> str:
        return f"{path}?{urlencode([*query, ('PageSize', size), ('Page', number)])}"

    start = page * size
    return {
        key: shown,
        "end": max(start, start + len(shown) - 1),
        "first_page_uri": uri(0),
        "next_page_uri": uri(page + 1) if more else None,
        "page": page,
        "page_size": size,
        "previous_page_uri": uri(page - 1) if page else None,
        "start": start,
        "uri": uri(page),
    }
