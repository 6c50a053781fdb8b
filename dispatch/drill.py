"""The personal fire drill: the whole chain once, up to a human's key or tap, and which link of it failed. Pure.

The same steps prove one number alone (``Purpose.VERIFY``), without the band and without a proof of the whole chain.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from uuid import UUID

from msgspec.structs import replace

from dispatch.codes import Message
from dispatch.drill_state import DEAD as DEAD
from dispatch.drill_state import EVERY_DAYS as EVERY_DAYS
from dispatch.drill_state import LONGEST_WAIT as LONGEST_WAIT
from dispatch.drill_state import OVER as OVER
from dispatch.drill_state import OVERDUE as OVERDUE
from dispatch.drill_state import Drill as Drill
from dispatch.drill_state import DrillDecision as DrillDecision
from dispatch.drill_state import DrillPolicy as DrillPolicy
from dispatch.drill_state import DrillState as DrillState
from dispatch.drill_state import Later as Later
from dispatch.drill_state import Link as Link
from dispatch.drill_state import Miss as Miss
from dispatch.drill_state import Purpose as Purpose
from dispatch.drill_state import Rung as Rung
from dispatch.drill_state import asked_from as asked_from
from dispatch.drill_state import first_due as first_due
from dispatch.drill_state import next_due as next_due
from dispatch.drill_state import opening as opening
from dispatch.incident import NotificationKind, Step, Target
from dispatch.plan import Channel

HURRY_AGAIN = timedelta(minutes=2)
"""Policy: a button that is pressed twice rings once."""


def begin(drill: Drill, now: datetime) -> DrillDecision:
    """Set a bare drill going: the band's button first; a number alone is asked at once."""
    drill = _copy(drill)
    for rung in drill.rungs:
        _without_voice_in_quiet(drill.policy, rung, now)
        if not rung.away and not rung.channels:
            rung.broken = Miss.NO_NUMBER
    if drill.purpose is Purpose.VERIFY:
        _ask_everybody(drill, now)
    else:
        drill.knock_at = now
    return DrillDecision(drill=_settled(drill, now))


def step(
    drill: Drill, now: datetime, *, hold_until: datetime | None = None, occupied: Collection[UUID] = ()
) -> DrillDecision:
    """Take what is due.

    Parameters
    ----------
    drill : Drill
    now : datetime
    hold_until : datetime or None
        A real incident of this person is open or was a moment ago: nothing before then.
    occupied : collection of UUID
        Contacts who are rung for somebody else just now.
    """
    if drill.over:
        return _tell(drill, now)
    if hold_until is not None and hold_until > now:
        held = _copy(drill)
        held.state, held.look_at = DrillState.WAITING, hold_until
        return DrillDecision(drill=held, cancel=True)
    drill = _copy(drill)
    if drill.state is DrillState.WAITING:
        _resume(drill, now)
    if drill.knock_at is not None:
        return _knock(drill, now)
    decision = DrillDecision(drill=drill)
    for rung in drill.rungs:
        if not rung.settled and _is_due(rung.due_at, now):
            decision.steps += _ask(drill, rung, now, rung.person_id in occupied)
    decision.drill = _settled(drill, now)
    return decision


def door_said(drill: Drill, taken: bool, now: datetime) -> DrillDecision:
    """The service answered the band, or did not."""
    if drill.over or not taken or drill.taken_at is not None:
        return DrillDecision(drill=drill)
    return DrillDecision(drill=replace(drill, taken_at=now))


def detected(drill: Drill, now: datetime) -> DrillDecision:
    """The band's SOS became an alarm: this drill's, and nothing else's."""
    if drill.over or drill.detected_at is not None:
        return DrillDecision(drill=drill)
    drill = _copy(drill)
    drill.taken_at, drill.detected_at, drill.knock_at = drill.taken_at or now, now, None
    if drill.state is DrillState.RUNNING:
        _ask_everybody(drill, now)
    return DrillDecision(drill=_settled(drill, now))


def confirmed(drill: Drill, person_id: UUID, how: str, now: datetime) -> DrillDecision:
    """A key, a tap or an exact code: this contact is reached."""

    known = drill.rung(person_id)
    if drill.over or known is None or known.reached_at is not None or known.broken in DEAD:
        return DrillDecision(drill=drill)
    drill = _copy(drill)
    for rung in drill.rungs:
        if rung.person_id == person_id:
            # Given up already, but not too late: the tap is the truth.
            rung.reached_at, rung.how, rung.due_at, rung.broken = now, how, None, None
    return DrillDecision(drill=_settled(drill, now))


def missed(drill: Drill, person_id: UUID, attempt: int, miss: Miss, now: datetime) -> DrillDecision:
    """A message came to nothing: not answered, not taken by the carrier, or held back."""

    def noted(rung: Rung) -> None:
        if attempt != rung.sent:
            return  # what a later one has overtaken
        if miss is Miss.HELD:
            rung.tries = max(0, rung.tries - 1)
            if rung.at_once:
                return  # asked for since: that one goes now
            rung.due_at = now + _s(drill.policy.between_s)
            if _too_long(drill, now):
                rung.broken = Miss.CARRIER
            return
        rung.last_miss = miss
        if rung.tries == 0:
            rung.due_at = now  # the text came to nothing: ring at once
        elif miss in DEAD or rung.tries >= drill.policy.tries:
            rung.broken = miss

    return _of(drill, person_id, now, noted)


def wrong_number(drill: Drill, person_id: UUID, now: datetime, *, another: bool) -> DrillDecision:
    """Key 9. With ``another`` number they are rung there."""

    def noted(rung: Rung) -> None:
        rung.last_miss = Miss.WRONG_NUMBER
        if another:
            rung.written, rung.tries, rung.due_at = True, 0, now
        else:
            rung.broken = Miss.WRONG_NUMBER

    return _of(drill, person_id, now, noted)


def hurried(drill: Drill, person_id: UUID, now: datetime, *, hold_until: datetime | None = None) -> DrillDecision:
    """Whose number it is asks to be rung now, at whatever hour; who does not answer is rung again by day.

    Something real goes first all the same: nothing is hurried before ``hold_until``, as in ``step``.
    """

    def noted(rung: Rung) -> None:
        if rung.hurried_at is None or not timedelta(0) <= now - rung.hurried_at < HURRY_AGAIN:
            rung.at_once, rung.written, rung.due_at, rung.hurried_at = True, True, now, now
            # However often they were rung before: this call, and one more by day.
            rung.tries = min(rung.tries, max(0, drill.policy.tries - 2))

    if drill.over or (hold_until is not None and hold_until > now):
        return DrillDecision(drill=drill)
    if drill.state is DrillState.WAITING:
        drill = _copy(drill)
        _resume(drill, now)
    return _of(drill, person_id, now, noted)


def removed(drill: Drill, person_id: UUID, now: datetime) -> DrillDecision:
    """No contact any more: not asked, and nothing is said against anybody."""
    if drill.purpose is Purpose.VERIFY:
        return called_off(drill, now) if drill.rung(person_id) is not None else DrillDecision(drill=drill)

    def noted(rung: Rung) -> None:
        rung.away = True

    return _of(drill, person_id, now, noted)


def called_off(drill: Drill, now: datetime) -> DrillDecision:
    """Not wanted any more: nothing more is sent, and nothing is said against anybody."""
    if drill.over:
        return DrillDecision(drill=drill)
    drill = _copy(drill)
    for rung in drill.rungs:
        rung.away = rung.away or not rung.settled
    return DrillDecision(drill=_ended(drill, now), cancel=True)


# --- inside


def _of(drill: Drill, person_id: UUID, now: datetime, change: Callable[[Rung], None]) -> DrillDecision:
    """Change one contact who is not settled yet; anything later or repeated changes nothing."""
    known = drill.rung(person_id)
    if drill.over or known is None or known.settled:
        return DrillDecision(drill=drill)
    drill = _copy(drill)
    rung = drill.rung(person_id)
    assert rung is not None  # noqa: S101 - found above
    change(rung)
    return DrillDecision(drill=_settled(drill, now))


def _copy(drill: Drill) -> Drill:
    return replace(drill, rungs=[replace(rung) for rung in drill.rungs], links=list(drill.links))


def _is_due(at: datetime | None, now: datetime) -> bool:
    return at is not None and (at <= now or at > now + LONGEST_WAIT)


def _knock(drill: Drill, now: datetime) -> DrillDecision:
    if not _is_due(drill.knock_at, now):
        return DrillDecision(drill=drill)
    if drill.knocks >= drill.policy.knocks:
        # Counted, not timed: a clock that jumps breaks no link.
        drill.links = [Link.DOOR if drill.taken_at is None else Link.DETECTION]
        drill.knock_at = None
        return DrillDecision(drill=_ended(drill, now))
    drill.knocks += 1
    drill.knock_at = now + timedelta(seconds=drill.policy.knock_s)
    return DrillDecision(drill=drill, knock=True)


def _resume(drill: Drill, now: datetime) -> None:
    """After a real incident: whoever was not reached is asked anew, since what was sent may have been cancelled."""
    drill.state, drill.look_at = DrillState.RUNNING, None
    if drill.purpose is Purpose.DRILL and drill.detected_at is None:
        drill.knock_at, drill.knocks = now, 0
        return
    _ask_everybody(drill, now)


def _ask_everybody(drill: Drill, now: datetime) -> None:
    drill.asking_since = now
    for rung in drill.rungs:
        if not rung.settled:
            rung.written, rung.tries, rung.due_at = drill.call_first or rung.writable is None, 0, now
            rung.at_once = False  # what was asked for before something real happened is not wanted at any hour now


def _ask(drill: Drill, rung: Rung, now: datetime, occupied: bool) -> list[Step]:
    """One contact's next message, or the end of trying."""
    policy = drill.policy
    allowed_at = now if rung.at_once else opening(policy, rung.quiet, now)
    if allowed_at is None or allowed_at > now or occupied:
        rung.due_at = allowed_at if allowed_at is not None and allowed_at > now else now + _s(policy.occupied_s)
        if _too_long(drill, now) and not rung.at_once:
            rung.broken = rung.last_miss or Miss.UNREAD
        return []
    if not rung.written:
        rung.written = True
        return _send(drill, rung, rung.writable or Channel.TEXT, now + _s(policy.text_s))
    if rung.tries >= policy.tries:
        rung.broken = rung.last_miss or (Miss.NO_ANSWER if Channel.VOICE in rung.channels else Miss.UNREAD)
        return []
    rung.tries += 1
    by_voice = Channel.VOICE in rung.channels
    last_call = by_voice and rung.tries == policy.tries
    again = now + _s(policy.text_s if last_call else policy.between_s)
    return _send(drill, rung, Channel.VOICE if by_voice else rung.writable or Channel.TEXT, again)


def _too_long(drill: Drill, now: datetime) -> bool:
    return drill.asking_since is not None and now - drill.asking_since > _s(drill.policy.lasts_s)


def _send(drill: Drill, rung: Rung, channel: Channel, again: datetime) -> list[Step]:
    rung.sent += 1
    rung.due_at, rung.at_once = again, False
    drilled = drill.purpose is Purpose.DRILL
    by_voice = channel is Channel.VOICE
    if drilled:
        message = Message.DRILL_CALL if by_voice else Message.DRILL_TEXT
    else:
        message = Message.VERIFY_CALL if by_voice else Message.VERIFY_TEXT
    return [
        Step(
            step=drill.purpose.value,
            target=rung.target,
            person_id=rung.person_id,
            channel=channel,
            attempt=rung.sent,
            kind=NotificationKind.DRILL if drilled else NotificationKind.TECHNICAL,
            message=message,
            language=rung.language,
            ring_s=drill.policy.ring_s,
            detect_voicemail=by_voice,
            expires_in=timedelta(minutes=10 if by_voice else 30),
        )
    ]


def _settled(drill: Drill, now: datetime) -> Drill:
    """Over, once every contact was reached or given up."""
    asking = drill.purpose is Purpose.VERIFY or drill.detected_at is not None
    if drill.over or not asking or not all(rung.settled for rung in drill.rungs):
        return drill
    drill = _copy(drill)
    if any(rung.broken is Miss.CARRIER for rung in drill.rungs):
        drill.links.append(Link.CARRIER)
    if all(rung.away for rung in drill.rungs):
        drill.links.append(Link.CONTACTS)
    return _ended(drill, now)


def _ended(drill: Drill, now: datetime) -> Drill:
    drill.state = DrillState.BROKEN if drill.links or drill.missed else DrillState.PROVEN
    drill.ended_at, drill.look_at = now, None
    for rung in drill.rungs:
        rung.due_at = None
    # The family hears of what they can mend; what is ours is the operator's.
    if drill.purpose is Purpose.DRILL and drill.missed:
        drill.tell_at = now
    return drill


def _tell(drill: Drill, now: datetime) -> DrillDecision:
    if not _is_due(drill.tell_at, now):
        return DrillDecision(drill=drill)
    allowed_at = opening(drill.policy, (), now)
    if allowed_at is not None and allowed_at > now:
        return DrillDecision(drill=replace(drill, tell_at=allowed_at))
    steps = [
        Step(
            step="drill_news",
            target=Target.CONTACT,
            person_id=rung.person_id,
            channel=rung.writable,
            attempt=1,
            kind=NotificationKind.DRILL,
            message=Message.DRILL_BROKEN,
            language=rung.language,
            expires_in=timedelta(hours=2),
        )
        for rung in drill.rungs
        if rung.writable is not None and rung.broken not in DEAD and not rung.away
    ]
    return DrillDecision(drill=replace(drill, tell_at=None), steps=steps)


def _without_voice_in_quiet(policy: DrillPolicy, rung: Rung, now: datetime) -> None:
    """Somebody whose quiet hours leave no hour of the day to ring is only written to."""
    if opening(policy, rung.quiet, now) is None:
        rung.quiet = ()
        if rung.writable is not None:
            rung.channels = tuple(one for one in rung.channels if one is not Channel.VOICE)


def _s(seconds: int) -> timedelta:
    return timedelta(seconds=seconds)
