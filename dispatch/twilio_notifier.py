"""Twilio: the only module that knows this carrier."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import requests
import twilio.rest.api  # noqa: F401 - the client would read it in at the first call, while everybody waits for it
from requests.adapters import HTTPAdapter
from twilio.base.exceptions import TwilioException, TwilioRestException, TwilioServiceException
from twilio.http.http_client import TwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client
from twilio.twiml.voice_response import Dial, Gather, VoiceResponse
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

ROOT = "/v1/telephony/twilio"
CALL_EVENTS = ["ringing", "answered", "completed"]
"""Not "initiated": that it took the call is its answer to our request, or the ringing that follows."""
VOICES = {"ko": ("ko-KR", "Polly.Seoyeon"), "en": ("en-US", "Polly.Joanna")}
LOCAL_HOSTS = {"127.0.0.1", "localhost", "::1"}

STATUSES = {
    "queued": CallStatus.QUEUED,
    "initiated": CallStatus.QUEUED,
    "ringing": CallStatus.RINGING,
    "in-progress": CallStatus.IN_PROGRESS,
    "completed": CallStatus.COMPLETED,
    "busy": CallStatus.BUSY,
    "no-answer": CallStatus.NO_ANSWER,
    "failed": CallStatus.FAILED,
    "canceled": CallStatus.CANCELLED,
    "accepted": CallStatus.QUEUED,
    "scheduled": CallStatus.QUEUED,
    "sending": CallStatus.QUEUED,
    "sent": CallStatus.SENT,
    "delivered": CallStatus.DELIVERED,
    "read": CallStatus.DELIVERED,
    "undelivered": CallStatus.UNDELIVERED,
}

KINDS = {
    "answer": CarrierEventKind.ANSWERED,
    "digits": CarrierEventKind.DIGITS,
    "status": CarrierEventKind.STATUS,
    "bridge": CarrierEventKind.STATUS,
    "incoming": CarrierEventKind.INCOMING,
    "text": CarrierEventKind.TEXT_IN,
}
UNASKED = frozenset({CarrierEventKind.INCOMING, CarrierEventKind.TEXT_IN})
"""What comes without a call or text of ours before it, and so without a reference."""
LONGEST_BODY = 1600
BRIDGE_RING_S = 30
"""How long the other leg of a bridged call may ring (policy)."""

# https://www.twilio.com/docs/api/errors : refusals that speak of the number called, and of ourselves.
NUMBER_CODES = frozenset({13223, 13224, 13226, 21211, 21214, 21217, 21219, 21601, 21608, 21610, 21614})
# It is not the number that is wrong, but this carrier's way to it: not permitted, not routed, not this kind of line.
ROUTE_CODES = frozenset({13225, 13227, 21215, 21216, 21407, 21408, 21612})
ACCOUNT_CODES = frozenset({10001, 10002, 20003, 20005, 20006, 20403, 20404, 21210, 21212, 21606, 90010})
# The call is answered or over already, or was forgotten.
TOO_LATE = frozenset({"21220", "20404", "404"})

CONNECTIONS = 32
LISTED = 100
"""How many calls or texts a page of its list shows us."""
MOST_LISTED = 500
"""So many to one number we look at, the newest; further back the one in question does not lie."""
LATELY = timedelta(minutes=1)
"""Policy: what the carrier took this lately may be the message in question, whatever our own clock said."""


class QuietHttpClient(TwilioHttpClient):  # type: ignore[misc]
    """Twilio's client with time-outs always set, an address of our choice, and nothing logged."""

    retry_after: ContextVar[str] = ContextVar("retry_after", default="")
    """What the last answer in this thread asked us to wait: the SDK's errors do not carry it."""
    answered_at: ContextVar[str] = ContextVar("answered_at", default="")
    """What time the carrier's own clock showed in its last answer."""

    def __init__(self, timeout_s: float, api_url: str | None) -> None:
        super().__init__(timeout=timeout_s)
        # As many connections are kept as there may be senders.
        self.session.mount("https://", HTTPAdapter(pool_maxsize=CONNECTIONS))
        self.session.mount("http://", HTTPAdapter(pool_maxsize=CONNECTIONS))
        # Connecting and reading each have their own clock: together they stay within the send time-out.
        self.timeout = (timeout_s / 3, timeout_s * 2 / 3)
        self._address = urlsplit(api_url) if api_url else None
        if self._address is not None and self._address.hostname in LOCAL_HOSTS:
            # A machine-wide HTTP proxy must not swallow calls to the telephone network next door.
            self.session.trust_env = False

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        """Send to ``api_url`` where given: the SDK itself has no option for another address."""
        if self._address is not None:
            path = self._address.path.rstrip("/") + urlsplit(url).path
            url = urlunsplit((self._address.scheme, self._address.netloc, path, urlsplit(url).query, ""))
        self.retry_after.set("")
        answer = super().request(method, url, *args, **kwargs)
        self.retry_after.set((answer.headers or {}).get("Retry-After", ""))
        self.answered_at.set((answer.headers or {}).get("Date", ""))
        return answer

    def log_request(self, kwargs: dict[str, Any]) -> None:
        """Say nothing: the SDK would log telephone numbers at INFO."""

    def log_response(self, status_code: int, response: Any) -> None:
        """Say nothing."""


class TwilioNotifier:
    """Twilio as a Notifier; ``api_url`` leads to the loopback telephone network or a proxy instead."""

    name = "twilio"
    speaks_up_front = False

    def __init__(
        self,
        account_sid: str,
        auth_token: str,
        from_number: str,
        public_url: str,
        api_url: str | None = None,
        timeout_s: float = 3.0,
    ) -> None:
        _check(account_sid, auth_token, from_number, public_url, timeout_s)
        self._from = from_number
        self._public = public_url.rstrip("/")
        self._validator = RequestValidator(auth_token)
        self._client = Client(account_sid, auth_token, http_client=QuietHttpClient(timeout_s, api_url))
        # A search comes on top of a request that has failed already: it may not cost as much again.
        looking = QuietHttpClient(timeout_s / 2, api_url)
        self._looking = Client(account_sid, auth_token, http_client=looking)
        # urllib3 logs each request line at DEBUG, and a search for a call has the number in its query.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)

    def place_call(self, request: CallRequest) -> Receipt:
        """Start a call that fetches its words from us when it is answered."""
        options: dict[str, Any] = {"machine_detection": "Enable"} if request.detect_voicemail else {}
        return self._create(
            "call",
            lambda: self._client.calls.create(
                to=request.to,
                from_=self._from,
                url=self._address("answer", request.reference),
                method="POST",
                timeout=request.ring_s,
                status_callback=self._address("status", request.reference),
                status_callback_method="POST",
                status_callback_event=CALL_EVENTS,
                **options,
            ),
        )

    def send_text(self, request: TextRequest) -> Receipt:
        """Send a text that expires instead of arriving hours later."""
        return self._create(
            "text",
            lambda: self._client.messages.create(
                to=request.to,
                from_=self._from,
                body=request.body,
                status_callback=self._address("status", request.reference),
                validity_period=request.valid_s,
            ),
        )

    def announce(self, to: str, lines: tuple[str, ...], language: str, ring_s: int) -> Receipt:
        """A call that only says something; it carries its words with it and needs no callbacks."""
        words = self.render(Prompt(language=language, lines=lines)).decode()
        return self._create(
            "call",
            lambda: self._client.calls.create(to=to, from_=self._from, twiml=words, timeout=ring_s),
        )

    def find_call(self, to: str, since: datetime, reference: str) -> Found:
        """The calls to ``to`` since ``since``: Twilio tells a call's addresses only long after it has ended."""
        calls = self._looking.calls
        every = partial(calls.stream, to=to, from_=self._from, limit=MOST_LISTED, page_size=LISTED)
        return Found(receipts=self._listed("call", every, since))

    def find_text(self, to: str, since: datetime, reference: str, body: str) -> Found:
        """The texts to ``to`` since ``since`` with the same words."""
        messages = self._looking.messages
        every = partial(messages.stream, to=to, from_=self._from, limit=MOST_LISTED, page_size=LISTED)
        return Found(receipts=self._listed("text", every, since, body), sure=True)

    def hang_up(self, call: Receipt) -> bool:
        """``canceled`` ends what is queued or rings; ``completed`` would cut off somebody who listens."""
        try:
            _carrying_on("hanging up", lambda: self._client.calls(call.id).update(status="canceled"))
        except NotificationError as error:
            if error.code in TOO_LATE:
                return False
            raise
        return True

    def reach(self, number: str) -> frozenset[Reach]:
        """How this number is reached, as declared in ``dispatch.carriers``."""
        return carriers.reach(self.name, number)

    def events(
        self, url: str, headers: Mapping[str, str], form: Mapping[str, str], body: bytes = b""
    ) -> list[CarrierEvent]:
        """A callback tells of one thing; its form is what the signature covers, not the body."""
        return [self.verify_and_parse(url, headers, form)]

    def verify_and_parse(self, url: str, headers: Mapping[str, str], form: Mapping[str, str]) -> CarrierEvent:
        """Check a callback's signature on our public address and read it.

        Raises ``PermissionError`` when the signature does not fit, ``ValueError`` when unreadable.
        """
        signature = next((v for k, v in headers.items() if k.lower() == "x-twilio-signature"), "")
        parts = urlsplit(url)
        if not signature or not self._validator.validate(self._public_address(url), form, signature):
            raise PermissionError("X-Twilio-Signature does not fit this request on our public address")
        words = parts.path.partition(f"{ROOT}/")[2].split("/")
        kind = KINDS.get(words[0])
        reference = words[1] if len(words) == 2 and words[1] else None
        if kind is None or (reference is None) != (kind in UNASKED):
            raise ValueError(
                f"path must be {ROOT}/answer|digits|status|bridge/{{reference}} or {ROOT}/incoming|text"
            )
        return _event(kind, reference, parse_qs(parts.query), form, bridge=words[0] == "bridge")

    def render(self, prompt: Prompt) -> bytes:
        """TwiML that says ``prompt`` and, with ``ask``, waits for one key."""
        language, voice = VOICES.get(prompt.language, VOICES["en"])
        response = VoiceResponse()
        if not prompt.ask:
            for line in prompt.lines:
                response.say(line, language=language, voice=voice)
            response.append(self._bridge(prompt)) if prompt.bridge_to else response.hangup()
            return str(response).encode()
        if not prompt.reference:
            raise ValueError("prompt.reference must be set when prompt.ask is: the key travels with it")
        gather = Gather(
            input="dtmf",
            num_digits=1,
            # By default "#" would end the menu as if no key had been pressed.
            finish_on_key="",
            timeout=prompt.wait_s,
            action_on_empty_result=True,
            action=f"{self._address('digits', prompt.reference)}?turn={prompt.turn}",
            method="POST",
        )
        for line in prompt.lines:
            gather.say(line, language=language, voice=voice)
        response.append(gather)
        return str(response).encode()

    def _bridge(self, prompt: Prompt) -> Dial:
        # Our own number shows: it is the one that everybody has saved, and Korea refuses foreign ones set to another.
        options: dict[str, Any] = {"caller_id": self._from, "timeout": BRIDGE_RING_S}
        if prompt.reference:
            options |= {"action": self._address("bridge", prompt.reference), "method": "POST"}
        return Dial(prompt.bridge_to, **options)

    def _address(self, what: str, reference: str) -> str:
        return f"{self._public}{ROOT}/{what}/{reference}"

    def _public_address(self, url: str) -> str:
        """Where the carrier posted to: its signature covers our public name, never the Host header."""
        parts, prefix = urlsplit(url), urlsplit(self._public).path
        path = parts.path
        if prefix and path.startswith(prefix + "/"):
            path = path[len(prefix) :]
        return f"{self._public}{path}" + (f"?{parts.query}" if parts.query else "")

    def _create(self, what: str, create: Callable[[], Any]) -> Receipt:
        sid = _carrying_on(what, create).sid
        if not sid:
            detail = f"twilio gave no id for the {what}"
            raise NotificationError(detail, permanent=False, ambiguous=True, provider=TwilioNotifier.name)
        return Receipt(provider=self.name, id=str(sid))

    def _listed(
        self, what: str, every: Callable[[], Iterable[Any]], since: datetime, body: str = ""
    ) -> tuple[Receipt, ...]:
        found: list[Any] = []

        def look() -> None:
            for one in every():
                now = _carriers_now()
                # The carrier's times have whole seconds. Its own StartTime filter would miss what is still queued.
                earliest = (min(since, now - LATELY) if now else since).replace(microsecond=0)
                if one.date_created and one.date_created < earliest:
                    break
                if one.date_created and body in (getattr(one, "body", "") or ""):
                    found.append(one)

        _carrying_on(what, look)
        # It lists the newest first, and what has the same second in the same order.
        found.reverse()
        found.sort(key=lambda one: one.date_created)
        now = _carriers_now()
        return tuple(
            Receipt(
                provider=self.name,
                id=str(one.sid),
                age_s=(now - one.date_created).total_seconds() if now else None,
            )
            for one in found
        )


def _carriers_now() -> datetime | None:
    """The carrier's clock as of its last answer: ours may have been an hour ahead when a message went out."""
    try:
        at = parsedate_to_datetime(QuietHttpClient.answered_at.get())
    except (TypeError, ValueError):
        return None
    # "-0000" is UTC, too, and Python makes a time without a zone of it.
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _check(account_sid: str, auth_token: str, from_number: str, public_url: str, timeout_s: float) -> None:
    """Refuse settings with which no call could ever be placed."""
    required = {"account_sid": account_sid, "auth_token": auth_token, "from_number": from_number}
    for name, value in required.items():
        if not value:
            raise ValueError(f"{name} must not be empty: copy it from the Twilio console")
    if urlsplit(public_url).scheme not in {"http", "https"} or not urlsplit(public_url).netloc:
        raise ValueError(f"public_url must be an http(s) address that Twilio can reach, was {public_url!r}")
    if timeout_s <= 0:
        raise ValueError(f"timeout_s must be positive, was {timeout_s}")


def _event(
    kind: CarrierEventKind,
    reference: str | None,
    query: Mapping[str, list[str]],
    form: Mapping[str, str],
    *,
    bridge: bool,
) -> CarrierEvent:
    is_text = "MessageSid" in form
    word = form.get("MessageStatus" if is_text else "CallStatus", "")
    status = STATUSES.get(word)
    if kind is CarrierEventKind.STATUS and status is None:
        raise ValueError(f"status must be one of {sorted(STATUSES)}, was {word[:20]!r}")
    provider_id = form.get("MessageSid") or form.get("CallSid") or ""
    if not provider_id:
        raise ValueError("CallSid or MessageSid must be present")
    bridged = STATUSES.get(form.get("DialCallStatus", "")) if bridge else None
    if bridge and bridged is None:
        raise ValueError(f"DialCallStatus must be one of {sorted(STATUSES)}")
    answered_by = form.get("AnsweredBy", "")
    return CarrierEvent(
        kind=kind,
        reference=reference,
        provider_id=provider_id,
        provider=TwilioNotifier.name,
        status=status,
        digits=form.get("Digits", "") if kind is CarrierEventKind.DIGITS else "",
        turn=_number(query.get("turn", [""])[0]) or 1,
        voicemail=answered_by.startswith("machine") or answered_by == "fax",
        from_number=form.get("From", ""),
        to_number=form.get("To", ""),
        duration_s=_number(form.get("CallDuration", "")),
        sequence=_number(form.get("SequenceNumber", "")),
        error_code=form.get("ErrorCode", ""),
        body=form.get("Body", "")[:LONGEST_BODY] if kind is CarrierEventKind.TEXT_IN else "",
        bridged=bridged,
    )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def _carrying_on(what: str, ask: Callable[[], Any]) -> Any:
    """Ask the carrier; its errors become ours, cut off from the original, which names the number called."""
    try:
        return ask()
    except (TwilioRestException, TwilioServiceException) as error:
        raise _refusal(what, error.status, error.code) from None
    except TwilioException as error:
        status = getattr(error.args[1], "status_code", 0) if len(error.args) > 1 else 0
        raise _refusal(what, status, None) from None
    except requests.RequestException as error:
        kind = type(error).__name__
        raise NotificationError(
            f"twilio was not reached for the {what}: {kind}",
            permanent=False,
            ambiguous=not _never_arrived(error),
            code=kind,
            provider=TwilioNotifier.name,
        ) from None
    except ValueError:
        # Not JSON: something between us and the carrier answered, perhaps after the carrier had acted.
        detail = f"twilio's answer for the {what} was unreadable"
        raise NotificationError(detail, permanent=False, ambiguous=True, provider=TwilioNotifier.name) from None


def _never_arrived(error: requests.RequestException) -> bool:
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.SSLError):
        return True
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, NewConnectionError)


def _refusal(what: str, status: int, code: int | None) -> NotificationError:
    number = int(code) if code else status
    detail = f"twilio refused the {what}: status={status} code={number}"
    wait_s = _number(QuietHttpClient.retry_after.get())
    more: dict[str, Any] = {"code": str(number), "provider": TwilioNotifier.name}
    if status == 429 or number == 20429:
        return NotificationError(detail, permanent=False, retry_after_s=wait_s, **more)
    if not 400 <= status < 500 or status == 408:
        return NotificationError(detail, permanent=False, ambiguous=True, retry_after_s=wait_s, **more)
    fault = Fault.CARRIER
    if number in NUMBER_CODES:
        fault = Fault.NUMBER
    elif number in ROUTE_CODES:
        fault = Fault.ROUTE
    elif number in ACCOUNT_CODES or status in {401, 403, 404}:
        fault = Fault.ACCOUNT
    return NotificationError(detail, permanent=True, fault=fault, **more)
