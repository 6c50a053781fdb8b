"""The seam to carriers: what the service asks of any of them, and what they report back."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

import msgspec


class Fault(StrEnum):
    """Whose fault a failed notification is: only ``number`` may count against a contact."""

    NUMBER = "number"
    ACCOUNT = "account"
    """Our credentials or our credit: every call will fail until an operator acts."""
    CARRIER = "carrier"


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
    ) -> None:
        super().__init__(detail)
        self.permanent = permanent
        self.ambiguous = ambiguous
        self.fault = fault
        self.code = code


class CallRequest(msgspec.Struct, frozen=True, kw_only=True):
    to: str
    """E.164."""
    reference: str
    """Our notification id: it travels in the callback addresses, so a lost answer can be matched."""
    ring_s: int
    """How long it may ring before the carrier gives up."""
    detect_voicemail: bool = False


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


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """What a callee hears. With ``ask`` the carrier waits for one key and reports it as DIGITS."""

    language: str
    """``ko`` or ``en``."""
    lines: tuple[str, ...]
    ask: bool = False
    wait_s: int = 8
    reference: str | None = None
    turn: int = 1


class Notifier(Protocol):
    """One carrier. Every call may raise NotificationError; none may block longer than the send time-out."""

    name: str

    def place_call(self, request: CallRequest) -> str:
        """Start a call; returns the carrier's id."""

    def send_text(self, request: TextRequest) -> str:
        """Send a text; returns the carrier's id."""

    def verify_and_parse(self, url: str, headers: Mapping[str, str], form: Mapping[str, str]) -> CarrierEvent:
        """Check a callback's signature on its public address and read it.

        Raises ``PermissionError`` when the signature does not fit, ``ValueError`` when unreadable.
        """

    def render(self, prompt: Prompt) -> bytes:
        """The answer body that makes the carrier say ``prompt``."""

    def announce(self, to: str, lines: tuple[str, ...], language: str, ring_s: int) -> str:
        """A call that only says something and needs no callbacks (verifying the fallback desk)."""
