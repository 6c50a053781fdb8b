"""Telephone numbers: whose they are is proven by a key, a tap or a code, and counts for half a year.

Every drill proves the numbers that it reaches; this asks one alone, after it was given or on demand.
"""

from __future__ import annotations

from uuid import UUID

from msgspec.structs import replace

from dispatch import drill as rules
from dispatch.drill import Drill, Purpose
from dispatch.incident import Target
from service.store import drills as store
from service.store import people as people_store
from service.store.database import Tx
from service.workflows import drill_book, drills
from service.workflows.drills import NobodyToReach
from service.workflows.house import House, log, new_id


def begin(house: House, patient_id: UUID, person_id: UUID, by: str = "system", *, call: bool = False) -> UUID:
    """Ask at this person's number whether it is theirs; returns the verification's id.

    By a text with a link where one can be read, else, or with ``call``, by a call; like a drill it wakes nobody,
    gives way to real incidents and is tried again. Raises NobodyToReach.
    """
    now = house.clock()

    def work(tx: Tx) -> UUID:
        patient = people_store.lock_patient(tx, patient_id)
        person = people_store.person(tx, person_id)
        known = {member.person_id for member in people_store.caregivers(tx, patient_id)} | {patient_id}
        if patient is None or person is None or person_id not in known:
            raise NobodyToReach(f"{person_id} is no contact of {patient_id}")
        for row in store.going_on(tx, patient_id, store.VERIFY):
            if drill_book.opened(house, row).rung(person_id) is not None:
                found: UUID = row.id
                return found
        rung = drills.rung_of(house, tx, person, now)
        if rung is None:
            raise NobodyToReach(f"{person_id} has no number")
        own = person_id == patient_id
        rung = replace(rung, away=False, target=Target.PATIENT if own else Target.CONTACT)
        drill = Drill(
            id=new_id(),
            patient_id=patient_id,
            policy=drill_book.policy(house, now),
            purpose=Purpose.VERIFY,
            by=by,
            started_at=now,
            call_first=call,
            rungs=[rung],
        )
        drill_book.settle(house, tx, drill_book.Held(patient, drill, 0), rules.begin(drill, now), now)
        log("verification_begun", patient=patient_id, person=person_id)
        return drill.id

    begun: UUID = house.committer.run(work, key=patient_id)
    return begun
