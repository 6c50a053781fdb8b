"""Incident: the case dispatchers handle. Its states, legal moves, time stamps and response intervals."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import msgspec

from dispatch.alarm import AlarmCondition, AlarmKind, Param, Priority
from dispatch.codes import Action, Role


class State(StrEnum):
    SUSPECTED = "suspected"
    CHECKING = "checking"
    CONFIRMED = "confirmed"
    DISPATCHED = "dispatched"
    EN_ROUTE = "en_route"
    ON_SCENE = "on_scene"
    AT_PATIENT = "at_patient"
    TRANSPORTING = "transporting"
    CANCELLED_BY_PATIENT = "cancelled_by_patient"
    STOOD_DOWN = "stood_down"
    CLOSED = "closed"


PRE_SCENE = frozenset({State.SUSPECTED, State.CHECKING, State.CONFIRMED, State.DISPATCHED, State.EN_ROUTE})
UNSETTLED = frozenset({State.SUSPECTED, State.CHECKING, State.CONFIRMED})
"""Nobody has been sent yet: these may still be taken, dispatched or handed back to the queue."""
UNDER_WAY = frozenset({State.DISPATCHED, State.EN_ROUTE, State.ON_SCENE, State.AT_PATIENT, State.TRANSPORTING})
SETTLING = frozenset({State.CANCELLED_BY_PATIENT, State.STOOD_DOWN})
"""Over, unless signs worsen or the person asks for help before it closes by itself."""
SILENCE = frozenset({"device_silent", "device_never_reported", "area_silent"})
OWN_FAULT = frozenset({"detection_failed", "record_unreadable", "area_silent"})
"""Failures of ours or of a whole area: the desk hears of them, the family is not rung."""

EDGES: dict[State, frozenset[State]] = {
    State.SUSPECTED: frozenset({State.CHECKING, State.CONFIRMED, State.STOOD_DOWN, State.CLOSED}),
    State.CHECKING: frozenset({State.CONFIRMED, State.CANCELLED_BY_PATIENT, State.STOOD_DOWN}),
    State.CONFIRMED: frozenset({State.DISPATCHED, State.AT_PATIENT, State.STOOD_DOWN, State.CLOSED}),
    # People on the radio skip steps ("I am with her"), so later stages may be reported directly.
    State.DISPATCHED: frozenset({State.EN_ROUTE, State.ON_SCENE, State.AT_PATIENT, State.STOOD_DOWN}),
    State.EN_ROUTE: frozenset({State.ON_SCENE, State.AT_PATIENT, State.STOOD_DOWN}),
    State.ON_SCENE: frozenset({State.AT_PATIENT}),
    State.AT_PATIENT: frozenset({State.TRANSPORTING, State.CLOSED}),
    State.TRANSPORTING: frozenset({State.CLOSED}),
    State.CANCELLED_BY_PATIENT: frozenset({State.CONFIRMED, State.CLOSED}),
    # A late "help" always escalates and nothing silences an SOS, a human's stand-down included.
    State.STOOD_DOWN: frozenset({State.CONFIRMED, State.CLOSED}),
    State.CLOSED: frozenset(),
}


class IllegalMove(Exception):
    """An action that this incident's state does not allow; the message says why and what would."""


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """A person to ring, in the policy's order. Numbers stay in the person's own sealed record."""

    person_id: UUID
    language: str = "ko"


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """An escalation policy as frozen into an incident. All delays are policy values, seconds."""

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
    ask_talk_s: int = 25
    """How long somebody who picked up has for the menu, even when the budget ends meanwhile."""
    ring_s: int = 25
    contact_step_s: int = 45
    """How long one contact may take to answer and press a key before the next rings."""
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


class Reason(msgspec.Struct, kw_only=True):
    """A condition that joined this incident, and how it stands."""

    condition: AlarmCondition
    ended_at: datetime | None = None


class Ask(msgspec.Struct, kw_only=True):
    attempt: int = 0
    due_at: datetime | None = None
    ends_at: datetime | None = None
    picked_up: bool = False
    """Whether the present attempt was answered, so that a repeated callback extends nothing."""
    answer: str | None = None
    """``fine``, ``help``, ``duress``, ``unanswered`` once known."""
    ended_how: str | None = None
    """A ``codes.Why``."""


class Ladder(msgspec.Struct, kw_only=True):
    """Where the contacts' ladder stands."""

    running: bool = False
    round: int = 0
    """Counts on for ever: it is the ``attempt`` of a contact's calls, which must be unique."""
    base: int = 0
    """The round before the ladder last (re)started; ``round - base`` is what the policy counts."""
    index: int = 0
    """Whom we wait for; ``len(policy.contacts)`` between two rounds."""
    round_started_at: datetime | None = None
    due_at: datetime | None = None
    picked_up: bool = False
    rung: list[UUID] = []
    """Everybody who was rung or written to, and so must hear how it ends."""
    declined: list[UUID] = []
    retired: list[UUID] = []
    """Numbers that turned out wrong."""


class Desk(msgspec.Struct, kw_only=True):
    attempt: int = 0
    due_at: datetime | None = None


class Incident(msgspec.Struct, kw_only=True):
    """One open case of one patient. Held sealed; only dispatch.escalation changes it."""

    id: UUID
    patient_id: UUID
    policy: Policy
    state: State = State.SUSPECTED
    priority: Priority = Priority.LOW
    reasons: list[Reason] = []
    times: dict[str, datetime] = {}
    owner_id: UUID | None = None
    owner_role: str | None = None
    """``caregiver``, ``dispatcher``, or ``desk`` for an unnamed key press at the staffed desk."""
    acknowledged: bool = False
    deadline_at: datetime | None = None
    """When a held incident that made no progress goes back to the queue."""
    ask: Ask = msgspec.field(default_factory=Ask)
    ladder: Ladder = msgspec.field(default_factory=Ladder)
    desk: Desk = msgspec.field(default_factory=Desk)
    lapses: int = 0
    """How often somebody took it and no progress followed."""
    settle_at: datetime | None = None
    close_reason: str | None = None
    external_reference: str | None = None
    """What the dispatcher was given when calling 119."""
    tells: int = 0
    """Counts what people were told: the ``attempt`` of inform messages."""

    @property
    def open(self) -> bool:
        return self.state is not State.CLOSED

    @property
    def grave(self) -> bool:
        return any(reason.condition.grave for reason in self.reasons)

    @property
    def sos(self) -> bool:
        return any(reason.condition.code == "sos" for reason in self.reasons)

    @property
    def technical(self) -> bool:
        """Whether nothing but technical conditions speaks for it."""
        return all(reason.condition.kind is AlarmKind.TECHNICAL for reason in self.reasons)

    @property
    def desk_only(self) -> bool:
        """Whether all of it is our own fault, so that nobody of the family is rung."""
        return all(reason.condition.code in OWN_FAULT for reason in self.weighty)

    @property
    def silence_only(self) -> bool:
        return all(reason.condition.code in SILENCE for reason in self.weighty)

    @property
    def weighty(self) -> list[Reason]:
        """The reasons that would open an incident; a low one rides along (all of them if none would)."""
        return [r for r in self.reasons if r.condition.priority is not Priority.LOW] or self.reasons

    @property
    def next_step_at(self) -> datetime | None:
        """The one future due step, or None once closed."""
        if not self.open:
            return None
        due = [
            self.ask.due_at,
            self.ask.ends_at,
            self.ladder.due_at,
            self.desk.due_at,
            self.deadline_at,
            self.settle_at,
        ]
        return min((at for at in due if at is not None), default=None)


class Vitals(msgspec.Struct, frozen=True, kw_only=True):
    """What the readings say at the moment a person says that they are fine."""

    fresh_age_s: float | None = None
    """Age of the newest usable reading by receipt; None when there is none."""
    worse: bool = False
    """Whether they are worse than when the incident opened."""


class NotificationKind(StrEnum):
    PAGE = "page"
    ASK = "ask"
    INFORM = "inform"
    DISPATCH = "dispatch"
    DRILL = "drill"
    TECHNICAL = "technical"


class Channel(StrEnum):
    VOICE = "voice"
    TEXT = "text"


class Target(StrEnum):
    PATIENT = "patient"
    CONTACT = "contact"
    DESK = "desk"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One message to one target by one channel: becomes one outbox row.

    ``(incident, step, target, channel, attempt)`` is unique in the database.
    """

    step: str
    """``ask``, ``contact``, ``desk``, ``tell`` ..."""
    target: Target
    person_id: UUID | None
    """None for the desk."""
    channel: Channel
    attempt: int
    kind: NotificationKind
    message: str
    """A ``codes.Message``."""
    params: dict[str, Param] = {}
    language: str = "ko"
    ring_s: int = 25
    detect_voicemail: bool = False
    expires_in: timedelta = timedelta(minutes=5)


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    what: str
    """A ``codes.Log``."""
    who: str
    """``system``, ``patient``, ``person:<uuid>`` or ``desk``."""
    params: dict[str, Param] = {}


class Decision(msgspec.Struct, kw_only=True):
    """What a rule decided: the incident as it now stands, what to send, what to write down.

    Cancellations concern rows that were there before: apply them, then insert ``steps``.
    """

    incident: Incident
    steps: list[Step] = []
    log: list[LogEntry] = []
    cancel_pages: bool = False
    """Outbox rows of kind page (and ask) not yet claimed are cancelled in the same commit."""
    cancel_asks: bool = False
    """Only rows of kind ask not yet claimed are cancelled: the check is over, paging is not."""
    retire_number_of: UUID | None = None


INTERVALS: dict[str, tuple[str, str]] = {
    "onset_to_received_s": ("onset_estimated_at", "received_at"),
    "received_to_first_notified_s": ("received_at", "first_notified_at"),
    "received_to_acknowledged_s": ("received_at", "acknowledged_at"),
    "check_s": ("check_started_at", "check_ended_at"),
    "received_to_unit_notified_s": ("received_at", "unit_notified_at"),
    "unit_notified_to_on_scene_s": ("unit_notified_at", "on_scene_at"),
    "on_scene_to_at_patient_s": ("on_scene_at", "at_patient_at"),
    "received_to_first_help_s": ("received_at", "first_help_at"),
    "onset_to_first_help_s": ("onset_estimated_at", "first_help_at"),
}
"""Every response interval is a difference of two time stamps, for real incidents and the twin alike."""


def intervals(times: dict[str, datetime]) -> dict[str, float | None]:
    """Response intervals in seconds; None where one of the two stamps is missing."""
    return {
        name: (times[end] - times[start]).total_seconds() if start in times and end in times else None
        for name, (start, end) in INTERVALS.items()
    }


def progress_states(incident: Incident) -> tuple[State, ...]:
    """The stages that may be reported now."""
    if incident.state in UNSETTLED:
        return (State.AT_PATIENT,)
    stages = (State.EN_ROUTE, State.ON_SCENE, State.AT_PATIENT, State.TRANSPORTING)
    return tuple(state for state in stages if state in EDGES[incident.state])


def allowed_actions(incident: Incident) -> tuple[Action, ...]:
    """What people may do to this incident as it stands (a live claim by another apart)."""
    state = incident.state
    unnamed = not incident.acknowledged or incident.owner_role == Role.DESK
    allowed = {
        Action.CLAIM: unnamed and state not in SETTLING and incident.open,
        Action.ACKNOWLEDGE: unnamed and state not in SETTLING and incident.open,
        Action.DISPATCH: state in UNSETTLED or state in SETTLING,
        Action.PROGRESS: bool(progress_states(incident)) and state not in SETTLING,
        Action.NOTE: True,
        Action.STAND_DOWN: State.STOOD_DOWN in EDGES[state],
        Action.CLOSE: State.CLOSED in EDGES[state],
    }
    return tuple(action for action, yes in allowed.items() if yes)


def open_incident(*, id: UUID, patient_id: UUID, policy: Policy) -> Incident:
    """A bare incident in ``suspected``; ``escalation.begin`` sets it going."""
    return Incident(id=id, patient_id=patient_id, policy=policy)
