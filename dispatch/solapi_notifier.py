"""SOLAPI (Korea): the only module that knows this carrier.

Its own SDK (solapi 5.0.3) has no time-out to set and hides the status and Retry-After of a refusal, so that neither
the lease nor the back-off could be kept with it. The requests here have the shape that its models give them; a test
drives the SDK itself against the loopback telephone network, which judges both alike.

What its voice messages cannot do: a second turn (the words go out with the request), telling which key was pressed
(only that one of those offered was), naming the machine that answered, connecting two people.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec
import requests
from urllib3.exceptions import NewConnectionError

from dispatch import carriers
from dispatch.notifier import (
    CallRequest,
    CallStatus,
    CarrierEvent,
    CarrierEventKind,
    Fault,
    Found,
    NotificationError,
    Prompt,
    Reach,
    Receipt,
    TextRequest,
)

API = "https://api.solapi.com"
SEND = "/messages/v4/send-many/detail"
LIST = "/messages/v4/list-old"
"""Where its SDK looks messages up."""
PATH = "/v1/telephony/solapi/report"
REPORT = "SINGLE-REPORT"
SHORT_TEXT_BYTES = 90
LOCAL_HOSTS = {"127.0.0.1", "localhost", "::1"}
AT_ONCE = 32
OUR_REFERENCE, OUR_KEY = "reference", "key"
"""Custom fields: they come back with every report and in the list."""

TAKEN, AT_NETWORK, ARRIVED = "2000", "3000", "4000"
"""https://developers.solapi.com/references/message-status-codes : accepted, with the network, received."""
# Refusals by errorCode (and by a message's statusCode) that speak of our account, or of the number written to. Any
# other is put down to the carrier, and the next one is asked.
ACCOUNT_CODES = frozenset(
    {"NotEnoughBalance", "SignatureDoesNotMatch", "Unauthorized", "Forbidden", "InvalidApiKey", "InvalidAPIKey"}
    | {"RequestTimeTooSkewed", "1030", "1062"}
)
NUMBER_CODES = frozenset({"InvalidPhoneNumber"})


class Report(msgspec.Struct, rename="camel"):
    """One message in a webhook's list, or in the list of messages: the fields that we read."""

    message_id: str
    status_code: str | None = None
    type: str | None = None
    to: str | None = None
    from_: str | None = msgspec.field(default=None, name="from")
    custom_fields: dict[str, str] | None = None
    date_created: datetime | None = None
    voice_duration: float | None = None
    voice_replied: bool | int | None = None


class Answer(msgspec.Struct, rename="camel"):
    """What came of a request to send."""

    message_list: list[Report] | None = None
    failed_message_list: list[Report] | None = None


class SolapiNotifier:
    """SOLAPI as a Notifier; ``api_url`` leads to the loopback telephone network or a proxy instead."""

    name = "solapi"
    speaks_up_front = True

    def __init__(
        self,
        api_key: str,
        api_secret: str,
        from_number: str,
        webhook_secret: str,
        clock: Callable[[], datetime],
        api_url: str | None = None,
        timeout_s: float = 3.0,
    ) -> None:
        required = {"api_key": api_key, "api_secret": api_secret, "webhook_secret": webhook_secret}
        for name, value in required.items():
            if not value:
                raise ValueError(f"{name} must not be empty: copy it from the SOLAPI console")
        if not from_number.startswith("+82"):
            raise ValueError("from_number must be a Korean number in E.164 form: the one registered with SOLAPI")
        if timeout_s <= 0:
            raise ValueError(f"timeout_s must be positive, was {timeout_s}")
        self._key, self._secret = api_key, api_secret
        # What its webhooks show: https://developers.solapi.com/references/webhook : SHA-1 of the secret given there.
        self._shown = hashlib.sha1(webhook_secret.encode(), usedforsecurity=False).hexdigest()
        self._from = national(from_number)
        self._clock = clock
        self._api = (api_url or API).rstrip("/")
        self._timeout_s = timeout_s
        self._session = requests.Session()
        # As many at once as the sender has hands: a pool that overflows warns, naming the host, at each request.
        self._session.mount("https://", requests.adapters.HTTPAdapter(pool_maxsize=AT_ONCE))
        self._session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=AT_ONCE))
        if urlsplit(self._api).hostname in LOCAL_HOSTS:
            self._session.trust_env = False
        logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)

    def place_call(self, request: CallRequest) -> Receipt:
        """A voice message; with ``ask`` key 1 is offered. ``ring_s`` and voicemail detection are the carrier's own."""
        if request.prompt is None:
            raise _no("call", "it speaks only what comes with the request, and was given nothing")
        options: dict[str, Any] = {"voiceType": "FEMALE"}
        fields = {OUR_REFERENCE: request.reference}
        if request.prompt.ask and request.prompt.one_key:
            options["replyRange"] = 1
            fields[OUR_KEY] = request.prompt.one_key
        words = " ".join(request.prompt.lines)
        return self._send("call", request.to, words, fields, voiceOptions=options, type="VOICE")

    def send_text(self, request: TextRequest) -> Receipt:
        """A short or long text; SOLAPI has no word for how long it may be tried."""
        size = len(request.body.encode("cp949", errors="replace"))
        kind = "SMS" if size <= SHORT_TEXT_BYTES else "LMS"
        return self._send("text", request.to, request.body, {OUR_REFERENCE: request.reference}, type=kind)

    def announce(self, to: str, lines: tuple[str, ...], language: str, ring_s: int) -> Receipt:
        """A voice message that asks nothing."""
        return self._send("call", to, " ".join(lines), {}, voiceOptions={"voiceType": "FEMALE"}, type="VOICE")

    def find_call(self, to: str, since: datetime, reference: str) -> Found:
        """The voice message with our reference."""
        return self._find("call", to, since, reference)

    def find_text(self, to: str, since: datetime, reference: str, body: str) -> Found:
        """The text with our reference."""
        return self._find("text", to, since, reference)

    def hang_up(self, call: Receipt) -> bool:
        """Never: only what is booked for later can be taken back."""
        return False

    def reach(self, number: str) -> frozenset[Reach]:
        """How this number is reached, as declared in ``dispatch.carriers``."""
        return carriers.reach(self.name, number)

    def render(self, prompt: Prompt) -> bytes:
        """Nothing: its words went out with the request."""
        return b""

    def events(
        self, url: str, headers: Mapping[str, str], form: Mapping[str, str], body: bytes = b""
    ) -> list[CarrierEvent]:
        """Every report of one webhook. SOLAPI signs nothing: it shows the digest of a secret that we gave it."""
        given = {name.lower(): value for name, value in headers.items()}
        shown = given.get("x-solapi-secret", "")
        if not hmac.compare_digest(shown.encode(), self._shown.encode()):
            raise PermissionError("X-Solapi-Secret does not show the digest of ANSIM_SOLAPI_WEBHOOK_SECRET")
        if not urlsplit(url).path.endswith(PATH):
            raise ValueError(f"path must be {PATH}")
        if given.get("x-solapi-event-name", REPORT) != REPORT:
            raise ValueError(f"event must be {REPORT}: give the webhook that one in the SOLAPI console")
        return [event for report in _reports(body) for event in self._told(report)]

    def _told(self, report: Report) -> list[CarrierEvent]:
        status = _status(report)
        fields = report.custom_fields or {}
        reference = fields.get(OUR_REFERENCE)
        if reference is None or status is None:
            return []  # not one of ours, or nothing new
        key = fields.get(OUR_KEY, "")
        if key and status is CallStatus.COMPLETED and report.voice_replied is None:
            # Its webhook may leave out whether a key was pressed; the list has it.
            report = self._looked_up(report)
        common: dict[str, Any] = {
            "reference": reference,
            "provider_id": report.message_id,
            "provider": self.name,
            "status": status,
            "to_number": _e164(report.to),
            "from_number": _e164(report.from_),
            "final": True,
        }
        told = []
        if key and report.voice_replied:
            told.append(CarrierEvent(kind=CarrierEventKind.DIGITS, digits=key, **common))
        failed = status not in {CallStatus.COMPLETED, CallStatus.DELIVERED}
        told.append(
            CarrierEvent(
                kind=CarrierEventKind.STATUS,
                duration_s=None if report.voice_duration is None else round(report.voice_duration),
                error_code=(report.status_code or "") if failed else "",
                **common,
            )
        )
        return told

    def _looked_up(self, report: Report) -> Report:
        """Raises NotificationError when it cannot be asked: SOLAPI sends a report that was refused again."""
        found = self._list("report", {"messageId": report.message_id, "limit": "1"})
        return next((one for one in found if one.message_id == report.message_id), report)

    def _find(self, what: str, to: str, since: datetime, reference: str) -> Found:
        if Reach.VOICE not in self.reach(to):
            return Found()
        query = {"to": national(to), "dateType": "CREATED", "startDate": since.isoformat(), "limit": "50"}
        wanted = [r for r in self._list(what, query) if (r.custom_fields or {}).get(OUR_REFERENCE) == reference]
        return Found(receipts=tuple(Receipt(provider=self.name, id=one.message_id) for one in wanted), sure=True)

    def _list(self, what: str, query: Mapping[str, str]) -> list[Report]:
        # A search comes on top of a request that has failed already: it may not cost as much again.
        answer = self._ask(what, "GET", LIST, self._timeout_s / 2, params=query)
        try:
            found = msgspec.convert(answer.get("messageList") or {}, dict[str, Report], strict=False)
        except msgspec.ValidationError:
            raise _unreadable(what) from None
        return list(found.values())

    def _send(self, what: str, to: str, text: str, fields: dict[str, str], **more: Any) -> Receipt:
        if Reach.VOICE not in self.reach(to):
            raise _no(what, "this number is not in Korea")
        message = {"to": national(to), "from": self._from, "country": "82", "text": text, "autoTypeDetect": False}
        message |= {"customFields": fields, **more}
        body = {"messages": [message], "allowDuplicates": False, "showMessageList": True}
        try:
            answer = msgspec.convert(self._ask(what, "POST", SEND, self._timeout_s, json=body), Answer, strict=False)
        except msgspec.ValidationError:
            raise _unreadable(what) from None
        if answer.failed_message_list:
            raise _refusal(what, 400, answer.failed_message_list[0].status_code or "unknown")
        if not answer.message_list:
            raise _unreadable(what)
        return Receipt(provider=self.name, id=answer.message_list[0].message_id)

    def _ask(self, what: str, method: str, path: str, timeout_s: float, **more: Any) -> dict[str, Any]:
        """One request; its errors become ours, cut off from the original, which names the number called."""
        try:
            answer = self._session.request(
                method,
                self._api + path,
                headers={"Authorization": self._authorization()},
                timeout=(timeout_s / 3, timeout_s * 2 / 3),
                allow_redirects=False,
                **more,
            )
        except requests.RequestException as error:
            kind = type(error).__name__
            raise NotificationError(
                f"solapi was not reached for the {what}: {kind}",
                permanent=False,
                ambiguous=not _never_arrived(error),
                code=kind,
                provider=SolapiNotifier.name,
            ) from None
        try:
            body = answer.json()
        except ValueError:
            body = None
        if answer.status_code >= 300:
            said = body.get("errorCode") if isinstance(body, dict) else None
            raise _refusal(what, answer.status_code, str(said or answer.status_code), answer.headers.get("Retry-After"))
        if not isinstance(body, dict):
            raise _unreadable(what)
        return body

    def _authorization(self) -> str:
        """https://developers.solapi.com/references/authentication/api-key : HMAC-SHA256 over date and salt."""
        date, salt = self._clock().isoformat(), secrets.token_hex(16)
        signature = hmac.new(self._secret.encode(), (date + salt).encode(), hashlib.sha256).hexdigest()
        return f"HMAC-SHA256 apiKey={self._key}, date={date}, salt={salt}, signature={signature}"


def national(number: str) -> str:
    """As it is dialled inside Korea, which is how SOLAPI writes numbers."""
    return "0" + number.removeprefix("+82")


def _e164(number: str | None) -> str:
    return f"+82{number[1:]}" if number and number.startswith("0") else number or ""


def _reports(body: bytes) -> list[Report]:
    """A list of reports; older webhooks wrap each in ``data``."""
    try:
        rows = msgspec.json.decode(body, type=list[dict[str, Any]])
        return msgspec.convert([row.get("data", row) for row in rows], list[Report], strict=False)
    except msgspec.MsgspecError as error:
        raise ValueError("the body must be a JSON list of reports, each with its messageId") from error


def _status(report: Report) -> CallStatus | None:
    voice = report.type == "VOICE" or OUR_KEY in (report.custom_fields or {})
    if report.status_code == ARRIVED:
        return CallStatus.COMPLETED if voice else CallStatus.DELIVERED
    if report.status_code in {None, TAKEN, AT_NETWORK}:
        return None
    # It does not tell busy from unanswered in a way that is documented.
    return CallStatus.NO_ANSWER if voice else CallStatus.UNDELIVERED


def _never_arrived(error: requests.RequestException) -> bool:
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.SSLError):
        return True
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, NewConnectionError)


def _no(what: str, why: str) -> NotificationError:
    detail = f"solapi does not take the {what}: {why}"
    return NotificationError(detail, permanent=True, fault=Fault.ROUTE, code="route", provider=SolapiNotifier.name)


def _unreadable(what: str) -> NotificationError:
    detail = f"solapi's answer for the {what} was unreadable"
    return NotificationError(detail, permanent=False, ambiguous=True, provider=SolapiNotifier.name)


def _refusal(what: str, status: int, code: str, wait: str | None = None) -> NotificationError:
    code = code if code.isalnum() else "unknown"
    detail = f"solapi refused the {what}: status={status} code={code}"
    wait_s = float(wait) if wait is not None and wait.isascii() and wait.isdigit() else None
    more: dict[str, Any] = {"code": code, "provider": SolapiNotifier.name}
    if status == 429:
        return NotificationError(detail, permanent=False, retry_after_s=wait_s, **more)
    if not 400 <= status < 500 or status == 408:
        return NotificationError(detail, permanent=False, ambiguous=True, retry_after_s=wait_s, **more)
    fault = Fault.CARRIER
    if code in NUMBER_CODES:
        fault = Fault.NUMBER
    elif code in ACCOUNT_CODES or status in {401, 402, 403}:
        fault = Fault.ACCOUNT
    return NotificationError(detail, permanent=True, fault=fault, **more)
