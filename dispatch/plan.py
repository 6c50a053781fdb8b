"""The plan: whom to ask and ring, by which channels, how long to wait, and when a lesser case lets people sleep."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

import msgspec

DAY_MIN = 24 * 60


class Channel(StrEnum):
    VOICE = "voice"
    TEXT = "text"
    EMAIL = "email"
    PUSH = "push"


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A part of every day, in minutes after local midnight; it may run over midnight (22:00 to 7:00)."""

    from_min: int
    to_min: int

    def holds(self, minute: int) -> bool:
        """Whether this minute of the day lies in it; a window without length holds none."""
        if self.from_min <= self.to_min:
            return self.from_min <= minute < self.to_min
        return minute >= self.from_min or minute < self.to_min


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """A person to ring, in the policy's order. Numbers stay in the person's own sealed record."""

    person_id: UUID
    language: str = "ko"
    channels: tuple[Channel, ...] = (Channel.VOICE, Channel.TEXT)
    """By which ways this person can be reached at all, as declared for carrier, country and kind of line."""
    verified: bool = True
    """Whether the number was proven to be theirs lately; one that is not cannot be the last rung."""
    quiet: tuple[Window, ...] = ()
    """Hours in which only a high-priority case rings this person."""
    away_until: datetime | None = None
    """Until then they are rung after everybody else."""

    def quiet_at(self, now: datetime, utc_offset_s: int) -> bool:
        """Whether ``now`` lies in one of their quiet hours."""
        minute = int((now.astimezone(UTC).timestamp() + utc_offset_s) // 60) % DAY_MIN
        return any(window.holds(minute) for window in self.quiet)

    def away_at(self, now: datetime) -> bool:
        return self.away_until is not None and now < self.away_until

    @property
    def writable(self) -> Channel | None:
        """How to write to them; a land line has nothing to read on."""
        return next((one for one in (Channel.TEXT, Channel.PUSH, Channel.EMAIL) if one in self.channels), None)


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """An escalation policy as frozen into an incident. All delays are policy values, seconds.

    Frozen is who is rung and how; when a contact does not want to be rung follows what they say meanwhile.
    """

    version: str
    contacts: tuple[Contact, ...] = ()
    can_be_asked: bool = True
    """False when voice cannot work for this person: contacts ring at once."""
    may_cancel: bool = True
    """False where "I am fine" cannot be taken at its word (dementia)."""
    duress_digit: str | None = None
    language: str = "ko"
    ask_attempts: int = 2
    ask_attempt_s: int = 45
    ask_budget_s: int = 75
    overlap_s: int = 20
    """A high-priority case rings the contacts this long after the first question, while the person is still asked."""
    ask_talk_s: int = 25
    """How long somebody who picked up has for the menu, even when the budget ends meanwhile."""
    ring_s: int = 25
    contact_step_s: int = 45
    """How long one contact may take to answer and press a key before the next rings."""
    unvoiced_s: int = 15
    """As ``contact_step_s``, for a contact who can only be written to."""
    rounds: int = 3
    desk_step_s: int = 120
    desk_busy_s: int = 15
    """How soon the desk is rung again when its line was busy."""
    slow_round_s: int = 600
    claim_s: int = 180
    acknowledged_s: int = 900
    dispatched_s: int = 900
    settle_s: int = 600
    """A cancelled or stood-down incident closes by itself after this, unless signs worsen."""
    fresh_s: int = 300
    """How old the newest reading may be for "I am fine" to close a check."""
    eta_grace_s: int = 300
    """How late somebody who said when they arrive may be before the ladder resumes."""
    coming_s: int = 10
    """How soon the person hears that somebody comes: late enough for the one who comes to say when."""
    coming_again_s: int = 60
    """When that call is tried once more, if it was not heard."""
    handover_s: int = 60
    """How long the emergency services' desk may take to accept a record before it is read out by telephone."""
    utc_offset_s: int = 32_400
    """Local time less UTC, for quiet hours."""
