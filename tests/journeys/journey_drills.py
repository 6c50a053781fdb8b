"""Drills on the stage: their ticker runs only in the stories that ask for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from journey_people import Home
from journey_stage import Stage
from sqlalchemy import Row, func, select

from dispatch.drill import Drill
from service.store import drills as store
from service.store.tables import DrillRow, Notification, Reachability, table
from service.workflows import drill_book, drills

_DRILL, _OUTBOX, _REACH = table(DrillRow), table(Notification), table(Reachability)


class Drills:
    """Lets the stage's own ticking do drills too."""

    def __init__(self, stage: Stage, *, plans: bool = False) -> None:
        self.stage = stage
        plain: Callable[[], None] = stage.settle
        due: Callable[[], list[tuple[str, datetime]]] = stage._due

        def settle() -> None:
            plain()
            for _ in range(200):
                if not (drills.tick(stage.house) if plans else self._step()):
                    return
                plain()
            raise AssertionError(f"drills go on for ever: {self.all()}")

        def with_drills() -> list[tuple[str, datetime]]:
            first = stage.rows(select(func.min(_DRILL.c.next_step_at)))[0][0]
            return due() + ([("drill", first)] if first is not None else [])

        stage.settle = settle  # type: ignore[method-assign]
        stage._due = with_drills  # type: ignore[method-assign]

    def _step(self) -> int:
        """As the ticker, without the monthly ones."""
        with self.stage.house.database.read() as tx:
            due = store.due(tx, self.stage.clock(), drills.rules.LONGEST_WAIT)
        return drills.tick(self.stage.house) if due else 0

    def begin(self, home: Home) -> Any:
        drill_id = drills.begin(self.stage.house, home.id)
        self.stage.settle()
        return drill_id

    def all(self) -> list[Row[Any]]:
        return self.stage.rows(select(_DRILL).order_by(_DRILL.c.started_at))

    def last(self, home: Home) -> Drill:
        row = self.stage.rows(
            select(_DRILL).where(_DRILL.c.patient_id == home.id).order_by(_DRILL.c.started_at.desc()).limit(1)
        )[0]
        return drill_book.opened(self.stage.house, row)

    def until_over(self, home: Home, within_s: float = 4 * 86_400) -> Drill:
        self.stage.advance_until(lambda: self.last(home).over and self.last(home).next_step_at is None, within_s)
        return self.last(home)

    def messages(self, home: Home) -> list[Row[Any]]:
        query = select(_OUTBOX).where(_OUTBOX.c.patient_id == home.id, _OUTBOX.c.step.in_(store.STEPS))
        return self.stage.rows(query.order_by(_OUTBOX.c.created_at, _OUTBOX.c.id))

    def reach(self, home: Home) -> Row[Any]:
        return self.stage.rows(select(_REACH).where(_REACH.c.patient_id == home.id))[0]
