"""The simulated cohort: what a policy does to time-to-human and to needless rings, before it goes live.

Every case is played by the escalation rules themselves; "without asking" is the same policy with the question left
out, met by the same people with the same luck.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
import numpy as np

from dispatch.cohort_parameters import KINDS, Parameters, PeerLadder
from dispatch.cohort_people import TAKE, Event, Home, Scene, events, homes
from dispatch.incident import Channel, NotificationKind, Policy, State, Target
from dispatch.policies import Document
from dispatch.rehearsal import DETECTION_S, SETUP_S, Kind, Rehearsal

HORIZON_S = 1800.0
"""A case that no human has by then counts with this time."""
RINGS = frozenset({NotificationKind.PAGE, NotificationKind.TECHNICAL})
READS, MISLED = 8, 9
"""Which of an event's draws decide whether a message is read in time, and whether a true "fine" misleads."""
NOBODY, CONTACT, DESK, CANCELLED = "nobody", "contact", "desk", "cancelled"


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """How much is played."""

    homes: int = 5000
    years: float = 2.0
    seed: int = 1


class Result(msgspec.Struct, frozen=True):
    """How one event went under one policy."""

    human_s: float
    """Until a human had it; ``HORIZON_S`` where none did."""
    by: str
    rings: int
    """To contacts and desk."""
    sent: bool
    """Whether a unit was sent."""
    asked: bool
    told_fine: bool = False
    """Whether whoever decided knew that the person had said "fine"."""


Arm = Callable[[Parameters, Home, Event], Result]


def ours(document: Document, *, ask: bool = True) -> Arm:
    """A policy of ours; without ``ask`` the contacts ring at once, as for somebody who cannot be asked."""
    # One plan for all homes that are alike: building one costs as much as a step.
    plans: dict[tuple[int, bool, bool], Policy] = {}

    def play(parameters: Parameters, home: Home, event: Event) -> Result:
        scene = Scene(parameters, home, event)
        key = (len(home.contacts), home.may_cancel, home.can_be_asked and ask)
        if key not in plans:
            plans[key] = document.policy(contacts=scene.contacts(), may_cancel=key[1], can_be_asked=key[2])
        played = Rehearsal(plans[key], scene.conditions(), scene.phones, vitals=scene.vitals, start=scene.start)
        if scene.band_s is not None and key[2]:
            played.band_says_fine(scene.band_s)
        played.run(HORIZON_S)
        incident = played.incident
        rings = sum(
            one.step.channel is Channel.VOICE and one.step.kind in RINGS and one.step.target is not Target.PATIENT
            for one in played.sent
        )
        if incident.acknowledged:
            by = DESK if incident.owner_role == "desk" else CONTACT
        else:
            by = CANCELLED if incident.state is State.CANCELLED_BY_PATIENT else NOBODY
        human_s = played.at_s if incident.acknowledged else HORIZON_S
        told = incident.acknowledged and _told_fine(scene, played)
        return Result(human_s, by, rings, _sent(scene, by, told), incident.ask.attempt > 0, told)

    return play


def _told_fine(scene: Scene, played: Rehearsal) -> bool:
    """Whether who took it knew, when they decided, that the person had said "fine": on taking, or by a message."""
    if played.incident.ask.fine_at is not None:
        return True
    played.go_on(scene.decide_s)
    read = scene.event.uniform[READS] < scene.parameters.verify.reads_news
    return played.incident.ask.fine_told and read


def _sent(scene: Scene, by: str, told_fine: bool) -> bool:
    """Whether whoever took it sends a unit; who does not know, does."""
    if by in {CANCELLED, NOBODY}:
        return False
    v, u = scene.parameters.verify, scene.event.uniform
    if scene.event.true:
        return not (told_fine and u[MISLED] < v.stands_down_wrongly)
    share = v.contact if by == CONTACT else v.desk
    if told_fine:
        share = max(share, v.told_fine)
    if not scene.answers and u[5] < v.silent_stays_silent:
        share = 0.0
    return u[4] >= share


def peer(ladder: Callable[[Parameters], PeerLadder]) -> Arm:
    """Somebody else's ladder on the same telephones: each step rings once, then waits."""

    def play(parameters: Parameters, home: Home, event: Event) -> Result:
        scene, steps = Scene(parameters, home, event), ladder(parameters)
        everybody = len(home.contacts) + 1
        rings, taken_s, by = 0, HORIZON_S, NOBODY
        at_s = steps.first_s
        for repeat in range(1, steps.repeats + 1):
            for who in range(everybody):
                if at_s >= min(HORIZON_S, taken_s):
                    break
                rings += 1
                met = scene.desk_call(repeat) if who == everybody - 1 else scene.contact_call(who, repeat)
                # A machine that picked up counts as delivered: nobody is rung again before the next repeat.
                if met.kind is Kind.ANSWER and met.key == TAKE and met.after_s < RING_S:
                    detection_s = 0.0 if who == everybody - 1 else DETECTION_S
                    ack_s = at_s + SETUP_S + met.after_s + detection_s + met.menu_s
                    if ack_s < taken_s:
                        taken_s, by = ack_s, DESK if who == everybody - 1 else CONTACT
                at_s += steps.step_s
        return Result(min(taken_s, HORIZON_S), by, rings, _sent(scene, by, told_fine=False), asked=False)

    return play


RING_S = 25
"""How long the other ladders let it ring."""


class Outcome(msgspec.Struct, frozen=True):
    """All events under one policy."""

    name: str
    human_s: np.ndarray
    rings: np.ndarray
    sent: np.ndarray
    by: list[str]
    told_fine: np.ndarray


class Played(msgspec.Struct, frozen=True):
    """What happened, and how each policy dealt with it."""

    size: Size
    kind: np.ndarray
    true: np.ndarray
    home: np.ndarray
    outcomes: dict[str, Outcome]

    @property
    def home_years(self) -> float:
        return self.size.homes * self.size.years


def play(parameters: Parameters, arms: dict[str, Arm], size: Size) -> Played:
    """Play the same events under every policy.

    Parameters
    ----------
    parameters : Parameters
    arms : dict
        By name.
    size : Size
        Homes, years and the seed: the same three give the same figures on every machine.

    Returns
    -------
    Played
        Arrays in the order of the events.
    """
    rng = np.random.Generator(np.random.PCG64(size.seed))
    where = homes(parameters, size.homes, rng)
    happened = events(parameters, size.homes, size.years, rng)
    return Played(
        size=size,
        kind=np.array([KINDS.index(one.kind) for one in happened], dtype=np.int8),
        true=np.array([one.true for one in happened], dtype=bool),
        home=np.array([one.home for one in happened], dtype=np.int64),
        outcomes={
            name: _outcome(name, (arm(parameters, where[one.home], one) for one in happened))
            for name, arm in arms.items()
        },
    )


def _outcome(name: str, results: Iterable[Result]) -> Outcome:
    found = list(results)
    return Outcome(
        name,
        np.array([one.human_s for one in found], dtype=np.float64),
        np.array([one.rings for one in found], dtype=np.int64),
        np.array([one.sent for one in found], dtype=bool),
        [one.by for one in found],
        np.array([one.told_fine for one in found], dtype=bool),
    )


__all__ = ["HORIZON_S", "Arm", "Outcome", "Played", "Result", "Size", "ours", "peer", "play"]
