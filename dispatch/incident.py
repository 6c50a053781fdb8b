"""Incident: the case dispatchers handle. Its states, legal moves, time stamps and response intervals."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import msgspec

from dispatch.alarm import AlarmCondition, AlarmKind, Param, Priority
from dispatch.codes import Action, Doubt, Role
from dispatch.plan import Channel as Channel
from dispatch.plan import Contact as Contact
from dispatch.plan import Policy as Policy
from dispatch.plan import Window as Window
from dispatch.regions import UNSURE
from dispatch.regions import Coming as Coming
from dispatch.regions import Going as Going
from dispatch.regions import Handover as Handover
from dispatch.regions import HandoverAnswer as HandoverAnswer
from dispatch.regions import Relieved as Relieved
from dispatch.regions import Unit as Unit
from dispatch.regions import UnitStage as UnitStage


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
ON_THE_ROAD = frozenset({State.CONFIRMED, State.DISPATCHED, State.EN_ROUTE, State.ON_SCENE})
"""Help is needed, and nobody is with the person yet."""
THERE = frozenset({State.AT_PATIENT, State.TRANSPORTING})
"""Somebody is with the person; a unit of 119 is followed beside these."""
SETTLING = frozenset({State.CANCELLED_BY_PATIENT, State.STOOD_DOWN})
"""Over, unless signs worsen or the person asks for help before it closes by itself."""
SILENCE = frozenset({"device_silent", "device_never_reported", "area_silent"})
OWN_FAULT = frozenset({"detection_failed", "record_unreadable", "area_silent", "carrier_refuses", "audit_mended"})
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


class Reason(msgspec.Struct, kw_only=True):
    """A condition that joined this incident, and how it stands."""

    condition: AlarmCondition
    ended_at: datetime | None = None


class Ask(msgspec.Struct, kw_only=True):
    attempt: int = 0
    due_at: datetime | None = None
    ends_at: datetime | None = None
    overlap_at: datetime | None = None
    """When the contacts begin to be rung beside the question."""
    picked_up: bool = False
    """Whether the present attempt was answered, so that a repeated callback extends nothing."""
    answer: str | None = None
    """``fine``, ``help``, ``duress``, ``unanswered`` once known."""
    ended_how: str | None = None
    """A ``codes.Why``."""
    wants_help: bool = False
    """Whether the person asked for help, in time or late."""
    cried: bool = False
    """Whether they did so in so many keys, or by the secret one."""
    duress: bool = False
    """Whether the secret key was ever pressed: their telephone must not speak of help any more."""
    calling_until: datetime | None = None
    """How long a call with the question may last: meanwhile no other call is placed to them. It wakes nothing."""
    beside_last: int = 0
    """The last attempt of a question beside an SOS; 0 where none is asked, or it is answered."""
    fine_at: datetime | None = None
    """When the person said "fine" so that whoever takes it hears of it; None again after any later cry."""
    fine_told: bool = False
    """Whether whoever holds it knows."""


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
    called: list[UUID] = []
    """Who had their turn in this round."""
    doubted: bool = False
    """Whether it is written down already that no number of a round was proven."""
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
    going: Going | None = None
    coming: Coming = msgspec.field(default_factory=Coming)
    handovers: list[Handover] = []
    """The latest is the last; an earlier one was rejected or not answered."""
    unit: Unit | None = None
    """A unit of 119 while somebody is with the person; before that the state itself says how far it is."""
    there: list[UUID] = []
    """Who says that they are with the person."""
    relieved: Relieved | None = None
    """Whom the present owner relieved by being there first."""
    said_safe: list[UUID] = []
    """Who is there and says that all is well, which somebody else still has to agree with."""
    spoken: bool = False
    """Whether somebody is known to have spoken with the person, or they with us."""

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
    def awaited(self) -> Going | None:
        """Who holds it, said when they will be there, and is not there yet."""
        going = self.going
        if going is None or going.arrived_at is not None or self.state not in ON_THE_ROAD:
            return None
        return going if self.acknowledged and going.person_id == self.owner_id else None

    @property
    def offered(self) -> Handover | None:
        """The record that lies before the emergency services' desk and was not answered yet."""
        return self.handovers[-1] if self.handovers and self.handovers[-1].due_at is not None else None

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """What speaks against ending it by hand; whoever does so all the same says that they know."""
        if not self.open:
            return ()
        unspoken = self.sos and not self.spoken and "first_help_at" not in self.times
        beside = self.unit is not None and self.unit.stage is not UnitStage.WITH_PATIENT
        coming = beside or (self.unit_called and self.state in UNDER_WAY - THERE)
        return (*([Doubt.UNSPOKEN] if unspoken else []), *([Doubt.UNIT_UNDER_WAY] if coming else []))

    @property
    def unit_called(self) -> bool:
        """Whether a human has called 119 for it."""
        return "unit_notified_at" in self.times

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
            self.ask.overlap_at,
            self.coming.due_at,
            self.handovers[-1].due_at if self.handovers else None,
            self.unit.due_at if self.unit is not None else None,
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


SYSTEM = "system"


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
    """Response intervals in seconds; None where a stamp is missing, or the end was earlier than the start.

    The latter is no interval: somebody else was with the person before the unit was on the scene.
    """
    spans = {name: (times.get(start), times.get(end)) for name, (start, end) in INTERVALS.items()}
    return {
        name: (end - start).total_seconds() if start is not None and end is not None and end >= start else None
        for name, (start, end) in spans.items()
    }


def progress_states(incident: Incident) -> tuple[State, ...]:
    """The stages that may be reported now."""
    if incident.state in UNSETTLED:
        return (State.AT_PATIENT,)
    stages = (State.EN_ROUTE, State.ON_SCENE, State.AT_PATIENT, State.TRANSPORTING)
    followed = incident.unit if incident.state in THERE else None
    beside = () if followed is None else stages[list(UnitStage).index(followed.stage) : 3]
    return tuple(state for state in stages if state in beside or state in EDGES[incident.state])


def allowed_actions(incident: Incident) -> tuple[Action, ...]:
    """What people may do to this incident as it stands (a live claim by another apart)."""
    state = incident.state
    unnamed = not incident.acknowledged or incident.owner_role == Role.DESK
    allowed = {
        Action.CLAIM: unnamed and state not in SETTLING and incident.open,
        Action.ACKNOWLEDGE: unnamed and state not in SETTLING and incident.open,
        Action.DISPATCH: state in UNSETTLED or state in SETTLING or (state in THERE and incident.unit is None),
        Action.PROGRESS: bool(progress_states(incident)) and state not in SETTLING,
        Action.NOTE: True,
        Action.STAND_DOWN: State.STOOD_DOWN in EDGES[state],
        Action.CLOSE: State.CLOSED in EDGES[state],
        Action.GOING: (state in UNSETTLED or state in ON_THE_ROAD)
        and (unnamed or incident.owner_role == Role.CAREGIVER),
        Action.ARRIVED: State.AT_PATIENT in EDGES[state] or state in UNSETTLED or state in THERE,
        Action.SAFE: state is State.AT_PATIENT and incident.acknowledged and not incident.unit_called,
        Action.CALLED_119: state in UNSETTLED or (state in THERE and incident.unit is None),
        Action.HAND_OVER: incident.open and state not in SETTLING and incident.offered is None,
        Action.HANDOVER_ANSWERED: bool(incident.handovers) and incident.handovers[-1].answer in UNSURE,
    }
    return tuple(action for action, yes in allowed.items() if yes)


def open_incident(*, id: UUID, patient_id: UUID, policy: Policy) -> Incident:
    """A bare incident in ``suspected``; ``escalation.begin`` sets it going."""
    return Incident(id=id, patient_id=patient_id, policy=policy)
