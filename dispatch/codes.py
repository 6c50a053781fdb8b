"""The closed sets that escalation writes and messages words: log codes, message keys, reasons."""

from __future__ import annotations

from enum import StrEnum


class Log(StrEnum):
    """What a line of an incident's timeline says; ``messages.log_text`` words each of them."""

    OPENED = "opened"
    NEW_EVIDENCE = "new_evidence"
    EVIDENCE_AGAIN = "evidence_again"
    EVIDENCE_ENDED = "evidence_ended"
    PRIORITY_RAISED = "priority_raised"
    CHECK_STARTED = "check_started"
    ASKED = "asked"
    PICKED_UP = "picked_up"
    RETURNED_CALL = "returned_call"
    OFFERED = "offered"
    """Who picked up a call about a case that needs nobody was offered this one in the same call."""
    CALLED_OFF = "called_off"
    """A call still rang when nobody was needed any more, and was hung up."""
    ASK_CALL_ENDED = "ask_call_ended"
    CHECK_ENDED = "check_ended"
    ANSWERED_FINE = "answered_fine"
    ANSWERED_HELP = "answered_help"
    ANSWERED_DURESS = "answered_duress"
    FINE_NOT_BELIEVED = "fine_not_believed"
    LATE_FINE = "late_fine"
    LATE_HELP = "late_help"
    WRONG_KEY = "wrong_key"
    """A key that the menu does not know: the menu is said again."""
    CONFIRMED = "confirmed"
    CANCELLED_BY_PATIENT = "cancelled_by_patient"
    REOPENED = "reopened"
    CONTACT_RUNG = "contact_rung"
    CONTACT_CALL_ENDED = "contact_call_ended"
    CONTACT_NO_KEY = "contact_no_key"
    CONTACT_DECLINED = "contact_declined"
    WRONG_NUMBER = "wrong_number"
    ROUND_ENDED = "round_ended"
    NO_CONTACTS = "no_contacts"
    DESK_RUNG = "desk_rung"
    DESK_CALL_ENDED = "desk_call_ended"
    DESK_NO_KEY = "desk_no_key"
    ACKNOWLEDGED = "acknowledged"
    STILL_ON_IT = "still_on_it"
    ALREADY_TAKEN = "already_taken"
    NOTHING_TO_TAKE = "nothing_to_take"
    OTHERS_TOLD = "others_told"
    OWNER_TOLD = "owner_told"
    CLAIMED = "claimed"
    CLAIM_EXPIRED = "claim_expired"
    RETURNED_TO_QUEUE = "returned_to_queue"
    REMINDED = "reminded"
    DISPATCHED = "dispatched"
    PROGRESSED = "progressed"
    UNIT_PROGRESSED = "unit_progressed"
    """A unit of 119 came further while somebody was with the person already."""
    UNIT_REMINDED = "unit_reminded"
    NOTED = "noted"
    STOOD_DOWN = "stood_down"
    CLOSED = "closed"
    ENDED_UNSPOKEN = "ended_unspoken"
    ENDED_BEFORE_UNIT = "ended_before_unit"
    """Ended by hand against a ``Doubt``."""
    ORPHAN_FOUND = "orphan_found"
    GOING = "going"
    NOT_ARRIVED = "not_arrived"
    ARRIVED = "arrived"
    ARRIVED_TOO = "arrived_too"
    """Somebody says that they are there, and does not take it over by that."""
    TAKE_FIRST = "take_first"
    SAFE = "safe"
    SAFE_NOTED = "safe_noted"
    """All is well, from afar or with 119 called: written down, the desk decides."""
    SAFE_ASKED = "safe_asked"
    """All is well, from who relieved or joined whoever had it: they or the desk have to agree."""
    PATIENT_TOLD = "patient_told"
    BRIDGED = "bridged"
    CONTACT_QUIET = "contact_quiet"
    CONTACT_AWAY = "contact_away"
    CONTACT_WENT_AWAY = "contact_went_away"
    CONTACT_IS_BACK = "contact_is_back"
    CONTACT_HOURS = "contact_hours"
    """A contact said other quiet hours while the case was open."""
    CONTACT_REMOVED = "contact_removed"
    """A contact was taken off the list while the case was open."""
    LAST_RUNG_UNVERIFIED = "last_rung_unverified"
    HANDED_OVER = "handed_over"
    HANDOVER_ACCEPTED = "handover_accepted"
    HANDOVER_REJECTED = "handover_rejected"
    HANDOVER_UNANSWERED = "handover_unanswered"
    HELD_BACK = "held_back"
    """A sign that was snoozed outlasted its snooze."""


SPOKE = frozenset(
    {Log.ANSWERED_FINE, Log.ANSWERED_HELP, Log.ANSWERED_DURESS, Log.LATE_FINE, Log.LATE_HELP, Log.BRIDGED}
)
"""Lines after which somebody is known to have spoken with the person, or they with us; unless ``how`` is no key."""


class Doubt(StrEnum):
    """What whoever ends a case by hand has to say that they have thought of."""

    UNSPOKEN = "unspoken"
    """The help button was pressed, and as far as we know nobody spoke with the person or was there."""
    UNIT_UNDER_WAY = "unit_under_way"
    """119 was called, and their unit is not with the person yet."""


class Message(StrEnum):
    """What a step says; ``messages.prompt_for`` and ``messages.text_for`` word each of them."""

    ASK = "ask"
    ASK_BESIDE = "ask_beside"
    """To who pressed SOS, beside everybody else who is rung: was it a mistake?"""
    CONTACT_MENU = "contact_menu"
    CONTACT_TEXT = "contact_text"
    DESK_MENU = "desk_menu"
    DESK_TECHNICAL = "desk_technical"
    DESK_REMINDER = "desk_reminder"
    TAKEN = "taken"
    HELP_SENT = "help_sent"
    ALL_CLEAR = "all_clear"
    PATIENT_COMING = "patient_coming"
    """To the person: who comes and when, after they pressed a key."""
    GOING = "going"
    """To the others: somebody is on the way."""
    ARRIVED = "arrived"
    ARRIVED_OTHER = "arrived_other"
    """To the others: somebody is there who was not the one who took it."""
    ARRIVED_TOO = "arrived_too"
    """To whoever keeps it: another says that they are there too."""
    SAFE_ASKED = "safe_asked"
    """To whoever had it before: is it true that all is well?"""
    DRILL_TEXT = "drill_text"
    DRILL_CALL = "drill_call"
    VERIFY_CALL = "verify_call"
    VERIFY_TEXT = "verify_text"
    GAP_AHEAD = "gap_ahead"
    """To the family: nobody can be reached at a time that is near."""
    DRILL_BROKEN = "drill_broken"
    NEWS = "news"
    SAYS_FINE = "says_fine"
    """To whoever holds it: the person said that they are fine, which ended nothing."""
    DESK_NEWS = "desk_news"
    REMINDER = "reminder"


class Why(StrEnum):
    """Why an incident was confirmed, a check ended or a settling incident reopened."""

    SOS = "sos"
    CANNOT_BE_ASKED = "cannot_be_asked"
    OWN_FAULT = "own_fault"
    FINE = "fine"
    FINE_NOT_BELIEVED = "fine_not_believed"
    HELP = "help"
    OTHER_KEY = "other_key"
    """Neither "fine" nor "help" was pressed, which counts as asking for help."""
    NO_KEY = "no_key"
    DURESS = "duress"
    UNANSWERED = "unanswered"
    ACKNOWLEDGED = "acknowledged"
    HUMAN = "human"
    WORSE = "worse"
    STOOD_DOWN = "stood_down"
    DEVICE_REPORTS_AGAIN = "device_reports_again"


class Disbelief(StrEnum):
    """Why "I am fine" did not end a check."""

    MAY_NOT_CANCEL = "may_not_cancel"
    SOS = "sos"
    GRAVE = "grave"
    NO_VITALS = "no_vitals"
    STALE_VITALS = "stale_vitals"
    WORSE = "worse"


class CloseReason(StrEnum):
    TRUE_EMERGENCY = "true_emergency"
    NEEDED_HELP = "needed_help"
    FALSE_ALARM_DEVICE = "false_alarm_device"
    FALSE_ALARM_PERSON = "false_alarm_person"
    TECHNICAL = "technical"
    PATIENT_FINE = "patient_fine"
    DUPLICATE = "duplicate"
    TEST = "test"
    DEVICE_REPORTS_AGAIN = "device_reports_again"


HUMAN_CLOSE_REASONS: tuple[CloseReason, ...] = tuple(
    reason for reason in CloseReason if reason is not CloseReason.DEVICE_REPORTS_AGAIN
)
"""What a person may choose from; the rest is the engine's own."""


class Outcome(StrEnum):
    """How a call ended without a key."""

    BUSY = "busy"
    NO_ANSWER = "no_answer"
    FAILED = "failed"
    VOICEMAIL = "voicemail"
    HUNG_UP = "hung_up"
    NO_KEY = "no_key"
    """Somebody heard the menu to its end and pressed nothing that it knows; then we hung up."""
    CALLED_OFF = "called_off"
    """We hung up ourselves, for nobody was needed any more."""


class Role(StrEnum):
    CAREGIVER = "caregiver"
    DISPATCHER = "dispatcher"
    DESK = "desk"


class Action(StrEnum):
    """What a person may do to an incident."""

    CLAIM = "claim"
    ACKNOWLEDGE = "acknowledge"
    DISPATCH = "dispatch"
    PROGRESS = "progress"
    NOTE = "note"
    STAND_DOWN = "stand_down"
    CLOSE = "close"
    GOING = "going"
    ARRIVED = "arrived"
    SAFE = "safe"
    CALLED_119 = "called_119"
    """A caregiver's own word that they called; a dispatcher's is ``dispatch``."""
    HAND_OVER = "hand_over"
    HANDOVER_ANSWERED = "handover_answered"
