"""Calls to one telephone look all alike: which of them belongs to which message, by when each was made."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

NEVER = datetime.max.replace(tzinfo=UTC)
APART = timedelta(seconds=2)
"""Carriers tell times in whole seconds, and so do we of their clock."""


class Call(NamedTuple):
    """A call that the carrier has and that no message of ours is known to have made."""

    id: str
    at: datetime | None
    """By our clock; None where the carrier does not tell, or our clock was set since."""


class Doubt(NamedTuple):
    """A message that may have made a call which nobody told us of."""

    id: UUID
    since: datetime | None = None
    """Its first try in doubt began; None where our clock was set since."""
    until: datetime | None = None
    """It made none in doubt from then on; None: it still may."""

    def may_have(self, call: Call) -> bool:
        """Whether ``call`` was made while this message was in doubt."""
        if call.at is None or self.since is None:
            return True
        return self.since - APART <= call.at and (self.until is None or call.at <= self.until + APART)


class Undecided(Exception):
    """There are calls that may be this one, and too few of them."""


def mine(calls: Sequence[Call], doubts: Sequence[Doubt], me: UUID) -> Call | None:
    """The call that ``me`` made, or None when it made none.

    ``calls`` are in the order of the carrier, ``doubts`` in that of our tries. Raises Undecided when there are fewer
    calls than messages that may have made them: whose they are, only the calls themselves will tell.
    """
    [own] = [doubt for doubt in doubts if doubt.id == me]
    for call in calls:
        if [doubt.id for doubt in doubts if doubt.may_have(call)] == [me]:
            return call
    if not any(own.may_have(call) for call in calls):
        return None
    rivals = _rivals(calls, doubts, own)
    owners = _owners(calls, rivals)
    if len(owners) == len(rivals):
        return owners[me]
    raise Undecided


def _rivals(calls: Sequence[Call], doubts: Sequence[Doubt], own: Doubt) -> list[Doubt]:
    """Who may have made a call that we may have made, and who may have made one of theirs, and so on."""
    reached, waiting = {own.id}, [own]
    while waiting:
        one = waiting.pop()
        shared = [call for call in calls if one.may_have(call)]
        for other in doubts:
            if other.id not in reached and any(other.may_have(call) for call in shared):
                reached.add(other.id)
                waiting.append(other)
    return [doubt for doubt in doubts if doubt.id in reached]


def _owners(calls: Sequence[Call], doubts: Sequence[Doubt]) -> dict[UUID, Call]:
    """As many messages as can be have one call each; whoever asks finds the same ones."""
    owners: dict[UUID, Call] = {}
    for call in calls:
        able = [doubt for doubt in doubts if doubt.id not in owners and doubt.may_have(call)]
        if able:
            # Whose time was over first has the fewest other calls to choose from.
            owners[min(able, key=lambda doubt: doubt.until or NEVER).id] = call
    return owners
