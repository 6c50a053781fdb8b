"""The seam to carriers: what the service asks of any of them, and what they report back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec


class Reach(StrEnum):
    """Ways to reach a telephone number; which of them work is declared per provider and country."""

    VOICE = "voice"
    TEXT = "text"
    TEXT_REPLY = "text_reply"
    """Texts can be answered: the reply comes back to us."""


class Fault(StrEnum):
    """Whose fault a failed notification is: only ``number`` may count against a contact."""

    NUMBER = "number"
    ACCOUNT = "account"
    """Our credentials or our credit: every call will fail until an operator acts."""
    CARRIER = "carrier"
    ROUTE = "route"
    """This carrier does not get to this number (not permitted, not this kind of line); another may."""


class NotificationError(Exception):
    """A carrier refused or failed.

    ``permanent`` says that trying the same again cannot help (bad number, bad credentials);
    ``ambiguous`` says the carrier may have acted all the same (time-out, 5xx).
    ``detail`` and ``code`` are fit for a log line: they never hold a number or a body.
    """

    def __init__(
        self,
        detail: str,
        *,
        permanent: bool,
        ambiguous: bool = False,
        fault: Fault = Fault.CARRIER,
        code: str = "",
        retry_after_s: float | None = None,
        provider: str = "",
        elsewhere: bool = False,
    ) -> None:
        super().__init__(detail)
        self.permanent = permanent
        self.ambiguous = ambiguous
        self.fault = fault
        self.code = code
        self.retry_after_s = retry_after_s
        """What the carrier asked us to wait (429), None where it said nothing."""
        self.provider = provider
        """Which carrier said so; empty where several did, or none."""
        self.elsewhere = elsewhere
        """Another carrier has not been asked yet: try again at once."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """A call or text that a carrier has taken on."""

    provider: str
    id: str
    """The carrier's own."""
    after: tuple[str, ...] = ()
    """Carriers that were tried before this one, in turn."""
    age_s: float | None = None
    """Of one that was found: how long the carrier has it, by its own clock; None where it does not tell."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a carrier has that may be the message whose fate it did not tell."""

    receipts: tuple[Receipt, ...] = ()
    """Oldest first."""
    sure: bool = False
    """Each of them is: it was found by our reference or by its own words, not by its number alone."""


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """What a callee hears. With ``ask`` the carrier waits for one key and reports it as DIGITS."""

    language: str
    """``ko`` or ``en``."""
    lines: tuple[str, ...]
    ask: bool = False
    wait_s: int = 8
    reference: str | None = None
    turn: int = 1
    bridge_to: str | None = None
    """E.164: after its lines the call is connected with this telephone."""
    one_key: str = ""
    """Where a carrier can only tell that key 1 was pressed: the digit of the full menu that it stands for."""


class CallRequest(msgspec.Struct, frozen=True, kw_only=True):
    to: str
    """E.164."""
    reference: str
    """Our notification id: it travels in the callback addresses, so a lost answer can be matched."""
    ring_s: int
    """How long it may ring before the carrier gives up."""
    detect_voicemail: bool = False
    prompt: Prompt | None = None
    """What to say, for carriers that take their words with the request (``speaks_up_front``)."""


class TextRequest(msgspec.Struct, frozen=True, kw_only=True):
    to: str
    reference: str
    body: str
    valid_s: int
    """A stale alarm must not arrive hours later."""


class CarrierEventKind(StrEnum):
    ANSWERED = "answered"
    """Somebody or something picked up and the carrier asks what to say."""
    DIGITS = "digits"
    """The menu ended: with a key, or with none (``digits`` empty)."""
    STATUS = "status"
    """The call or text changed state."""
    INCOMING = "incoming"
    """Somebody rings us (a returned call)."""
    TEXT_IN = "text_in"
    """Somebody answered a text, or wrote to us; ``body`` is what they wrote."""


class CallStatus(StrEnum):
    QUEUED = "queued"
    RINGING = "ringing"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SENT = "sent"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"

    @property
    def ended(self) -> bool:
        return self not in {CallStatus.QUEUED, CallStatus.RINGING, CallStatus.IN_PROGRESS, CallStatus.SENT}

    @property
    def rank(self) -> int:
        """States only move to a higher rank; late or repeated callbacks never regress one."""
        return {"queued": 0, "ringing": 1, "in_progress": 2, "sent": 2}.get(self.value, 3)


class CarrierEvent(msgspec.Struct, frozen=True, kw_only=True):
    kind: CarrierEventKind
    reference: str | None
    """Our notification id; None for an incoming call."""
    provider_id: str
    """The carrier's id of the call or message."""
    provider: str = ""
    """Which carrier tells."""
    status: CallStatus | None = None
    digits: str = ""
    turn: int = 1
    """Which asking of the menu this answers (1 the first, 2 the repetition)."""
    voicemail: bool = False
    from_number: str = ""
    to_number: str = ""
    duration_s: int | None = None
    sequence: int | None = None
    """The carrier's own order of a call's status changes, from 0; None where it gives none."""
    error_code: str = ""
    """The carrier's reason for a failed call or text."""
    body: str = ""
    """What an incoming text says; at most 1,600 characters."""
    bridged: CallStatus | None = None
    """How the other leg of a bridged call ended; the call itself goes on."""
    final: bool = False
    """The call is over already: nothing more can be said in it."""


class MailRequest(msgspec.Struct, frozen=True, kw_only=True):
    to: str
    """An e-mail address."""
    reference: str
    """Our notification id: it becomes the Message-ID, so that a repeated try is the same mail."""
    subject: str
    body: str


class PushRequest(msgspec.Struct, frozen=True, kw_only=True):
    subscription: dict[str, object]
    """What the browser gave: endpoint and keys."""
    reference: str
    title: str
    body: str
    path: str = "/"
    """Which of our pages a tap opens."""
    stays: bool = False
    """Whether it stays on the screen until somebody taps it or sends it away."""
    valid_s: int = 300


class Mailer(Protocol):
    """Electronic mail. Raises NotificationError like any carrier."""

    name: str

    def send_mail(self, request: MailRequest) -> str:
        """Hand one mail over; returns its Message-ID."""


class Pusher(Protocol):
    """Web Push. Raises NotificationError; ``fault=NUMBER`` and permanent when the subscription is gone."""

    name: str
    public_key: str
    """What a browser needs to subscribe (``applicationServerKey``)."""

    def push(self, request: PushRequest) -> str:
        """Send to one browser; returns the push service's id, or the reference where it gives none."""


class DeskAnswer(Protocol):
    """What another emergency desk says of a record that it was given."""

    @property
    def answer(self) -> str:
        """``accepted`` or ``rejected``."""

    @property
    def reason(self) -> str: ...

    @property
    def reference(self) -> str: ...


class PartnerDesk(Protocol):
    """Another emergency desk's machine."""

    def offer(self, body: bytes, callback_url: str, key: str) -> DeskAnswer | None:
        """Give it one record; its answer, or None where that comes later. Raises NotificationError."""


class Notifier(Protocol):
    """A carrier. Every request may raise NotificationError; none may block longer than the send time-out."""

    name: str
    speaks_up_front: bool
    """Words go out with the request for a call: ``CallRequest.prompt`` must be given."""

    def place_call(self, request: CallRequest) -> Receipt:
        """Start a call."""

    def send_text(self, request: TextRequest) -> Receipt:
        """Send a text."""

    def events(
        self, url: str, headers: Mapping[str, str], form: Mapping[str, str], body: bytes = b""
    ) -> list[CarrierEvent]:
        """Check that a callback to this public address is the carrier's own, and read what it tells.

        Raises ``PermissionError`` when it is not, ``ValueError`` when it is unreadable, NotificationError when the
        carrier had to be asked for the rest and did not answer: it will call again.
        """

    def render(self, prompt: Prompt) -> bytes:
        """The answer body that makes the carrier say ``prompt``."""

    def find_call(self, to: str, since: datetime, reference: str) -> Found:
        """The calls to ``to`` that the carrier has taken since ``since``: asked before repeating one."""

    def find_text(self, to: str, since: datetime, reference: str, body: str) -> Found:
        """As ``find_call``, for a text of these words."""

    def hang_up(self, call: Receipt) -> bool:
        """Take back a call that nobody has picked up yet; False where there was nothing to take back any more.

        A call that was answered goes on: somebody is listening.
        """

    def reach(self, number: str) -> frozenset[Reach]:
        """How this carrier reaches this number, as declared for its country and kind of line."""

    def announce(self, to: str, lines: tuple[str, ...], language: str, ring_s: int) -> Receipt:
        """A call that only says something and needs no callbacks (verifying the fallback desk)."""
