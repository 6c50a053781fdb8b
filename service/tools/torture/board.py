"""What the database says about cases while the service runs, looked at several times a second: the audit."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select
from sqlalchemy.exc import SQLAlchemyError

from dispatch.incident import SETTLING, State
from service.store.database import Database
from service.store.tables import IncidentRow, table
from service.tools.torture.clock import ClockHand

LOOK_S = 0.4
STUCK_S = 45.0
"""An open case whose next step has been overdue, or too far off, for so long is an orphan in all but name."""
LATE_S = 10.0
"""A step overdue for longer means that the machine can hardly follow; locks and kills alone make it seldom so late."""
FARTHEST = timedelta(minutes=16)
"""No delay of any policy is longer."""
SETTLED = {state.value for state in SETTLING}
_INCIDENT = table(IncidentRow)
_COLUMNS = ("id", "patient_id", "state", "acknowledged", "next_step_at", "opened_at")


@dataclass
class CaseNow:
    """One open case as last seen."""

    id: UUID
    patient_id: UUID
    state: str
    acknowledged: bool
    first_seen: float
    amiss_since: float | None = None
    plan: dict[str, float] = field(default_factory=dict)
    """What people will do about it, and when (monotonic seconds)."""
    in_hand: bool = False
    """Somebody at the board is doing something about it just now."""

    @property
    def over(self) -> bool:
        return self.state in SETTLED or self.state == State.CLOSED


class Board:
    """Looks at every open case, from the first incident to the last."""

    def __init__(self, database: Database, hand: ClockHand) -> None:
        self._database, self._hand = database, hand
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="board", daemon=True)
        self.cases: dict[UUID, CaseNow] = {}
        """Open cases by id; replaced whole at each look, so whoever reads it sees one moment."""
        self.opened = 0
        self.looks = 0
        self.late = 0
        """How many open cases are amiss for longer than ``LATE_S``, as of the last look."""
        self.orphans: set[UUID] = set()
        self.found: Counter[str] = Counter()
        self.step_late_most_s = 0.0

    def start(self) -> None:
        self.look()
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def _look_on(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                self.look()
            except SQLAlchemyError as error:
                self.found[f"look_failed_{type(error).__name__}"] += 1

    def look(self) -> None:
        """One audit instant."""
        query = select(*(_INCIDENT.c[name] for name in _COLUMNS)).where(_INCIDENT.c.closed_at.is_(None))
        with self._database.read() as tx:
            rows: Sequence[Row[Any]] = tx.conn.execute(query).all()
            self.opened = tx.conn.execute(select(func.count()).select_from(_INCIDENT)).scalar_one()
        now, wall = time.monotonic(), self._hand.now()
        seen: dict[UUID, CaseNow] = {}
        for row in rows:
            case = self.cases.get(row.id) or CaseNow(row.id, row.patient_id, row.state, row.acknowledged, now)
            case.state, case.acknowledged = row.state, row.acknowledged
            self._audit(case, row.next_step_at, now, wall)
            seen[row.id] = case
        self.cases = seen
        self.late = sum(one.amiss_since is not None and now - one.amiss_since > LATE_S for one in seen.values())
        self.looks += 1

    def _audit(self, case: CaseNow, next_step_at: datetime | None, now: float, wall: datetime) -> None:
        if next_step_at is None:
            self.orphans.add(case.id)
            return
        late_s = (wall - next_step_at).total_seconds()
        if late_s <= 0 and next_step_at - wall <= FARTHEST:
            case.amiss_since = None
            return
        case.amiss_since = case.amiss_since or now
        lasts_s = now - case.amiss_since
        # Measured by our own steady clock: the service's may just have been moved by an hour.
        self.step_late_most_s = max(self.step_late_most_s, lasts_s)
        if lasts_s > STUCK_S:
            self.orphans.add(case.id)

    @property
    def under_way(self) -> int:
        """How many cases are open and not over."""
        return sum(not case.over for case in self.cases.values())

    def busy(self) -> set[UUID]:
        """Patients with an open case."""
        return {case.patient_id for case in self.cases.values()}
