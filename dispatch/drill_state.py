"""What a drill consists of: its links, contacts and policy, and the hours in which people may be bothered. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

import msgspec

from dispatch.incident import SYSTEM, Step, Target
from dispatch.plan import DAY_MIN, Channel, Window

MINUTE = timedelta(minutes=1)
EVERY_DAYS = 30
"""Policy: every person's chain is proven once a month."""
OVERDUE = timedelta(days=35)
LONGEST_WAIT = timedelta(hours=25)
"""No due time of a drill lies further off: one that does was written before a clock was set back."""


class Purpose(StrEnum):
    DRILL = "drill"
    VERIFY = "verify"


class DrillState(StrEnum):
    RUNNING = "running"
    WAITING = "waiting"
    """A real incident is open, or was a moment ago: nothing of a drill goes out meanwhile."""
    PROVEN = "proven"
    BROKEN = "broken"


OVER = frozenset({DrillState.PROVEN, DrillState.BROKEN})


class Link(StrEnum):
    """The links of the chain that belong to nobody."""

    DOOR = "door"
    """The service took the band's signed SOS."""
    DETECTION = "detection"
    """What it took became an alarm."""
    CARRIER = "carrier"
    """Calls and texts went out."""
    CONTACTS = "contacts"
    """There was anybody to reach."""


class Miss(StrEnum):
    """Why a contact was not reached."""

    NO_NUMBER = "no_number"
    BAD_NUMBER = "bad_number"
    WRONG_NUMBER = "wrong_number"
    NO_ANSWER = "no_answer"
    BUSY = "busy"
    VOICEMAIL = "voicemail"
    HUNG_UP = "hung_up"
    NO_KEY = "no_key"
    FAILED = "failed"
    UNREAD = "unread"
    CARRIER = "carrier"
    """The carrier did not take it: nothing is said against the contact."""
    HELD = "held"
    """It was held back, as drills are once the day's money is spent."""


DEAD = frozenset({Miss.NO_NUMBER, Miss.BAD_NUMBER, Miss.WRONG_NUMBER})
"""Ringing again cannot help."""


class Later(StrEnum):
    """Why a contact who has not answered is not asked just now."""

    NIGHT = "night"
    """Nobody is bothered for a drill at this hour."""
    QUIET = "quiet"
    """These are their own quiet hours."""
    INCIDENT = "incident"
    """A real incident is open, or was a moment ago."""


class DrillPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How a drill goes. All of it is policy."""

    text_s: int = 600
    """How long a text may wait for a tap before the contact is rung."""
    tries: int = 3
    """Calls to one contact."""
    between_s: int = 3600
    from_min: int = 9 * 60
    """Minutes after local midnight from which on people may be bothered; nobody is woken for a drill."""
    to_min: int = 20 * 60
    utc_offset_s: int = 32_400
    knocks: int = 6
    knock_s: int = 20
    """Six tries, twenty seconds apart: what has not come through the door within two minutes did not come."""
    occupied_s: int = 600
    """How long a contact who is rung for somebody else is left alone."""
    lasts_s: int = 3 * 86_400
    ring_s: int = 25


class Rung(msgspec.Struct, kw_only=True):
    """One contact of the drill, and how it stands with them."""

    person_id: UUID
    language: str = "ko"
    target: Target = Target.CONTACT
    channels: tuple[Channel, ...] = (Channel.VOICE, Channel.TEXT)
    quiet: tuple[Window, ...] = ()
    away: bool = False
    """Away, and so not bothered: neither reached nor broken."""
    due_at: datetime | None = None
    sent: int = 0
    """Counts every message to them: the ``attempt`` of the outbox row."""
    written: bool = False
    tries: int = 0
    last_miss: Miss | None = None
    reached_at: datetime | None = None
    how: str = ""
    """``key``, ``link`` or ``reply``."""
    broken: Miss | None = None
    at_once: bool = False
    """Whose number it is has just asked for it: the next message goes at any hour, and only that one."""
    hurried_at: datetime | None = None

    @property
    def settled(self) -> bool:
        return self.away or self.reached_at is not None or self.broken is not None

    @property
    def writable(self) -> Channel | None:
        if self.target is not Target.CONTACT:
            return None  # the signed link is a contact's
        return next((one for one in (Channel.TEXT, Channel.PUSH, Channel.EMAIL) if one in self.channels), None)


class Drill(msgspec.Struct, kw_only=True):
    """One drill. Held sealed; only the functions of this module change it."""

    id: UUID
    patient_id: UUID
    policy: DrillPolicy
    purpose: Purpose = Purpose.DRILL
    by: str = SYSTEM
    """Who asked for it: ``system`` for the monthly one, else ``person:<uuid>``."""
    state: DrillState = DrillState.RUNNING
    started_at: datetime
    call_first: bool = False
    rungs: list[Rung] = []
    knock_at: datetime | None = None
    knocks: int = 0
    taken_at: datetime | None = None
    """When the door said that it had the band's SOS."""
    detected_at: datetime | None = None
    """When the SOS became this drill's alarm: from then on the contacts are asked."""
    asking_since: datetime | None = None
    look_at: datetime | None = None
    """While it waits: when to look again whether it may go on."""
    links: list[Link] = []
    """Which links failed, contacts apart."""
    ended_at: datetime | None = None
    tell_at: datetime | None = None
    """When the family hears that a link is broken: the one thing that comes after the end."""

    @property
    def over(self) -> bool:
        return self.state in OVER

    @property
    def next_step_at(self) -> datetime | None:
        """The one due step; once over, only the word to the family, if they are owed one."""
        if self.over:
            return self.tell_at
        if self.state is DrillState.WAITING:
            return self.look_at
        due = [self.knock_at, *(rung.due_at for rung in self.rungs if not rung.settled)]
        return min((at for at in due if at is not None), default=None)

    @property
    def reached(self) -> list[Rung]:
        return [rung for rung in self.rungs if rung.reached_at is not None]

    @property
    def missed(self) -> list[Rung]:
        """Contacts who were not reached by a fault that is theirs, not the carrier's."""
        return [rung for rung in self.rungs if rung.broken not in {None, Miss.CARRIER}]

    def rung(self, person_id: UUID) -> Rung | None:
        return next((one for one in self.rungs if one.person_id == person_id), None)


class DrillDecision(msgspec.Struct, kw_only=True):
    """What a rule decided: the drill as it stands, what to send, and whether to press the band's button now."""

    drill: Drill
    steps: list[Step] = []
    knock: bool = False
    cancel: bool = False
    """What waits to be sent for this drill is not sent any more."""


def opening(policy: DrillPolicy, quiet: tuple[Window, ...], now: datetime) -> datetime | None:
    """The first moment from ``now`` on at which somebody may be bothered for a drill; None when no day has any."""
    local = int((now.astimezone(UTC).timestamp() + policy.utc_offset_s) // 60) % DAY_MIN
    start = now.replace(second=0, microsecond=0)
    for ahead in range(DAY_MIN + 1):
        minute = (local + ahead) % DAY_MIN
        if policy.from_min <= minute < policy.to_min and not any(window.holds(minute) for window in quiet):
            return now if ahead == 0 else start + ahead * MINUTE
    return None


def asked_from(drill: Drill, now: datetime, hold_until: datetime | None = None) -> tuple[datetime, Later | None]:
    """When the next contact who has not answered is asked, and what keeps them from being asked before, if anything."""
    waiting = [rung for rung in drill.rungs if not rung.settled]
    if drill.over or not waiting:
        return now, None
    if hold_until is not None and hold_until > now:
        return min(opening(drill.policy, rung.quiet, hold_until) or hold_until for rung in waiting), Later.INCIDENT
    # After a real incident everybody is asked anew, whenever they would have been.
    anew = drill.state is DrillState.WAITING
    return min((_next_ask(drill.policy, rung, now, anew) for rung in waiting), key=lambda found: found[0])


def _next_ask(policy: DrillPolicy, rung: Rung, now: datetime, anew: bool) -> tuple[datetime, Later | None]:
    known = not anew and rung.due_at is not None and now < rung.due_at <= now + LONGEST_WAIT
    due = rung.due_at if known and rung.due_at is not None else now
    if rung.at_once and not anew:
        return due, None
    at = opening(policy, rung.quiet, due) or due
    just_before = at - MINUTE
    # What was put off is due when its hours open: the minute before tells what they were closed by.
    if at <= now or opening(policy, rung.quiet, just_before) in {just_before, None}:
        return at, None
    return at, Later.QUIET if opening(policy, (), just_before) == just_before else Later.NIGHT


def next_due(patient_id: UUID, now: datetime, policy: DrillPolicy, *, first: bool) -> datetime:
    """When this person's next drill is due: a month on, at an hour of their own.

    After the ``first`` it comes sooner, by a day that is their own too, so that people who were enrolled together
    are spread over the month from then on.
    """
    own = int.from_bytes(patient_id.bytes[-6:], "big")
    days = 1 + own % EVERY_DAYS if first else EVERY_DAYS
    local = now.astimezone(UTC) + timedelta(seconds=policy.utc_offset_s) + timedelta(days=days)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    # Early enough that three calls an hour apart end on the same day.
    span_min = max(1, policy.to_min - policy.from_min - 4 * 60)
    minute = policy.from_min + own // EVERY_DAYS % span_min
    return midnight + timedelta(minutes=minute) - timedelta(seconds=policy.utc_offset_s)


def first_due(patient_id: UUID, now: datetime, policy: DrillPolicy) -> datetime:
    """When the first drill of somebody new is due: within the next hour in which people may be bothered."""
    own = int.from_bytes(patient_id.bytes[-6:], "big")
    later = now + timedelta(minutes=1 + own % 50)
    return opening(policy, (), later) or later
