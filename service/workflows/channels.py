"""One message through one channel: a call, a text, a mail or a push, and whether the carrier took it already."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import Row

from dispatch import messages, messages_doors
from dispatch.incident import Channel, NotificationKind, Target
from dispatch.notifier import (
    CallRequest,
    CarrierEvent,
    Fault,
    Found,
    MailRequest,
    NotificationError,
    Prompt,
    PushRequest,
    Reach,
    Receipt,
    TextRequest,
)
from service.store import outbox
from service.store.database import Tx
from service.workflows import browsers, cases, links, numbers, people, telephone_menus, whose_call
from service.workflows.house import House, log
from service.workflows.whose_call import Call, Doubt

SHORTEST_VALID_S = 60
DOUBTED = timedelta(minutes=1), timedelta(minutes=5)
"""Policy: how long, at least and at most, a call in doubt makes us doubt others to the same number."""
PATIENCE_S = 8.0
"""Policy: how long one in doubt waits for the calls that may be it to tell whose they are."""
SILENCE_S = 4.0
"""Policy: how long one in doubt waits for a carrier that does not say what it took, before it is made again."""
LONGEST_PATIENCE = timedelta(seconds=30)
"""Policy: however often whoever held it died meanwhile, it waits no longer than so after its claim."""
BELIEVED = timedelta(minutes=10)
"""Policy: a claim farther from now was written before our clock was set."""
CLOCKS_APART = timedelta(seconds=5)
"""Policy: how far the carrier's clock may run behind ours when we ask it what it took."""


class OtherKind(Protocol):
    """Who answers for messages that belong to no case: drills, numbers being verified. A module will do."""

    def carrier_said(self, house: House, tx: Tx, row: Row[Any], event: CarrierEvent) -> Prompt | None:
        """A call or text of theirs changed, was answered or brought a key; the patient's lock is held."""

    def not_reached(self, house: House, row: Row[Any], outcome: str) -> None:
        """It could not be handed over, or expired; outside any transaction."""

    def confirmed(self, house: House, tx: Tx, row: Row[Any], how: str) -> None:
        """Its signed link was tapped (``link``) or its code came back (``reply``); the patient's lock is held."""


OTHER_KINDS: dict[str, OtherKind] = {}
"""By step or kind of the outbox row; whoever sends such messages puts itself here."""


def other_kind(row: Row[Any]) -> OtherKind | None:
    return OTHER_KINDS.get(row.step) or OTHER_KINDS.get(row.kind)


def hand_over(house: House, row: Row[Any]) -> Receipt:
    """Give one message to whoever carries its channel. Raises NotificationError."""
    message = house.unseal(row.patient_id, "notification", str(row.id), row.sealed, cases.Message)
    if row.channel == Channel.EMAIL:
        return _mail(house, row, message)
    if row.channel == Channel.PUSH:
        return _push(house, row, message)
    number, language = address(house, row)
    if row.channel == Channel.VOICE:
        return _took(row, house.notifier.place_call(_call(house, row, message, number, language)))
    body = _text(house, row, message, number, language)
    request = TextRequest(to=number, reference=str(row.id), body=body, valid_s=_valid_s(house, row))
    return _took(row, house.notifier.send_text(request))


def _text(house: House, row: Row[Any], message: cases.Message, number: str, language: str) -> str:
    """The same words at every try: by them the carrier finds a text again."""
    code = None
    if row.message in messages_doors.TAKING and Reach.TEXT_REPLY in house.notifier.reach(number):
        code = links.code(house, row.id)
    return _written(house, row, message, language, code)


def _call(house: House, row: Row[Any], message: cases.Message, number: str, language: str) -> CallRequest:
    prompt = telephone_menus.opening(row, language) if house.notifier.speaks_up_front else None
    return CallRequest(
        to=number,
        reference=str(row.id),
        ring_s=message.ring_s,
        detect_voicemail=message.detect_voicemail,
        prompt=prompt,
    )


def _took(row: Row[Any], receipt: Receipt) -> Receipt:
    if receipt.after:
        log("carrier_changed", notification=row.id, provider=receipt.provider, after=",".join(receipt.after))
    return receipt


class Undecided(Exception):
    """Soon we shall know whether the carrier took it: by its own word, or because it answers again."""


def found_already(house: House, row: Row[Any]) -> Receipt | None:
    """What is known of a try whose fate the carrier did not tell; None: nothing, or it cannot be asked.

    Raises Undecided where it is worth a moment's wait.
    """
    if row.unsure_since is None or row.channel not in {Channel.VOICE, Channel.TEXT}:
        return None
    receipt = _told(house, row)
    if receipt is None:
        try:
            receipt = _ours(house, row, _asked(house, row))
        except NotificationError as error:
            # Another carrier that does answer makes it at once.
            if not (error.permanent or error.elsewhere) and _patient(house, row, SILENCE_S):
                raise Undecided from None
            log("carrier_not_asked", notification=row.id, code=error.code or "none")
        except whose_call.Undecided:
            if _patient(house, row, PATIENCE_S):
                raise Undecided from None
    if receipt is not None:
        log("carrier_had_it", notification=row.id, provider=receipt.provider)
    return receipt


def _told(house: House, row: Row[Any]) -> Receipt | None:
    """The carrier's own word, if it has called back about it meanwhile."""
    with house.database.read() as tx:
        current = outbox.notification(tx, row.id)
    if current is None or not current.provider_id:
        return None
    return Receipt(provider=current.provider or house.notifier.name, id=current.provider_id)


def _asked(house: House, row: Row[Any]) -> Found:
    since = row.unsure_since - CLOCKS_APART
    number, language = address(house, row)
    if row.channel == Channel.VOICE:
        return house.notifier.find_call(number, since, str(row.id))
    message = house.unseal(row.patient_id, "notification", str(row.id), row.sealed, cases.Message)
    body = _text(house, row, message, number, language)
    return house.notifier.find_text(number, since, str(row.id), body)


def _ours(house: House, row: Row[Any], found: Found) -> Receipt | None:
    """Which of these is this message, or None; raises ``whose_call.Undecided``: doubled beats missed."""
    if not found.receipts:
        return None
    now, listed = house.clock(), [one.id for one in found.receipts]
    span = min(max(DOUBTED[0], abs(now - row.unsure_since)), DOUBTED[1])
    with house.database.read() as tx:
        taken = outbox.others_provider_ids(tx, row.id, listed)
        unsure = outbox.unsure_calls(tx, row, now, span, listed)
    free = {one.id: one for one in found.receipts if one.id not in taken}
    if found.sure:
        return next(iter(free.values()), None)
    doubts = [_doubt(one, now) for one in unsure]
    if row.id not in {doubt.id for doubt in doubts}:
        return None
    told = _believed(row.unsure_since, now)
    calls = [Call(one.id, _made_at(one, now) if told else None) for one in free.values()]
    call = whose_call.mine(calls, doubts, row.id)
    return free[call.id] if call else None


def _made_at(receipt: Receipt, now: datetime) -> datetime | None:
    """None where the carrier does not tell, or tells what cannot be: then it may be anybody's."""
    at = now - timedelta(seconds=receipt.age_s) if receipt.age_s is not None else None
    return at if at is not None and _believed(at, now) else None


def _doubt(row: Row[Any], now: datetime) -> Doubt:
    if not _believed(row.unsure_since, now):
        return Doubt(row.id)
    ended = row.until is not None and _believed(row.until, now) and row.until >= row.unsure_since
    return Doubt(row.id, row.unsure_since, row.until if ended else None)


def _believed(at: datetime, now: datetime) -> bool:
    return abs(now - at) < BELIEVED


def _patient(house: House, row: Row[Any], most_s: float) -> bool:
    """Whether one in doubt may wait on: by a stopwatch that nobody sets, and by the claim for who died meanwhile."""
    begun: dict[UUID, float] = house.extras.setdefault("doubted", {})
    stopwatch: Callable[[], float] = house.extras.get("stopwatch") or time.monotonic
    now = stopwatch()
    for key in [key for key, at in begun.copy().items() if now - at > BELIEVED.total_seconds()]:
        begun.pop(key, None)
    waited_s = now - begun.setdefault(row.id, now)
    return waited_s < most_s and not LONGEST_PATIENCE < abs(house.clock() - row.unsure_since) < BELIEVED


def _valid_s(house: House, row: Row[Any]) -> int:
    return max(SHORTEST_VALID_S, int((row.expires_at - house.clock()).total_seconds()))


def _written(house: House, row: Row[Any], message: cases.Message, language: str, code: str | None = None) -> str:
    body = messages.text_for(row.message, language, message.params)
    link = links.address(house, row) if row.message in messages_doors.LINKED and row.target == Target.CONTACT else None
    return messages_doors.with_answers(body, row.message, language, link, code)


def _mail(house: House, row: Row[Any], message: cases.Message) -> Receipt:
    if house.mailer is None:
        raise NotificationError("no mail is set up", permanent=True, fault=Fault.ACCOUNT)
    with house.database.read() as tx:
        found = people.email_of(house, tx, row.target_id)
    if found is None:
        raise NotificationError("this person has no e-mail address", permanent=True, fault=Fault.NUMBER)
    subject, body = messages_doors.mail(_written(house, row, message, found[1]), found[1])
    request = MailRequest(to=found[0], reference=str(row.id), subject=subject, body=body)
    return Receipt(provider=house.mailer.name, id=house.mailer.send_mail(request))


def _push(house: House, row: Row[Any], message: cases.Message) -> Receipt:
    """To every browser of this person; one that takes it is enough."""
    if house.pusher is None:
        raise NotificationError("no push is set up", permanent=True, fault=Fault.ACCOUNT)
    language, at_desk = language_of(house, row.target_id), row.target == Target.DESK
    said = messages_doors.word("push_desk", language) if at_desk else None
    title, body = messages_doors.push(said or messages.text_for(row.message, language, message.params), language)
    taken, refused = None, NotificationError("no browser asked to be told", permanent=True, fault=Fault.NUMBER)
    for subscription_id, subscription in browsers.of(house, row.target_id):
        request = PushRequest(
            subscription=subscription,
            reference=str(row.id),
            title=title,
            body=body,
            path=f"/incidents/{row.incident_id}" if at_desk else links.path(house, row),
            stays=row.kind == NotificationKind.PAGE,
            valid_s=_valid_s(house, row),
        )
        try:
            taken = Receipt(provider=house.pusher.name, id=house.pusher.push(request))
        except NotificationError as error:
            refused = error
            if error.permanent and error.fault is Fault.NUMBER:
                browsers.gone(house, row.target_id, subscription_id)
    if taken is None:
        raise refused
    return taken


def language_of(house: House, person_id: UUID) -> str:
    with house.database.read() as tx:
        return people.language_of(tx, person_id)


def address(house: House, row: Row[Any]) -> tuple[str, str]:
    """The number that a call or text goes to, and its language."""
    if row.target == Target.DESK:
        if not house.settings.fallback_number:
            raise NotificationError("no fallback desk number is set (ANSIM_FALLBACK_NUMBER)", permanent=True)
        return house.settings.fallback_number, house.settings.desk_language.value
    with house.database.read() as tx:
        found = numbers.to_send(house, tx, row)
    if found is None:
        raise NotificationError("this person has no number that works", permanent=True)
    return found
