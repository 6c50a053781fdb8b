"""AlarmCondition: what dispatch accepts from detection (IEC 60601-1-8 words)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

Param = float | int | str | bool | None


class Priority(StrEnum):
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """Higher is more urgent."""
        return {"low": 0, "medium": 1, "high": 2}[self.value]


class AlarmKind(StrEnum):
    PHYSIOLOGICAL = "physiological"
    TECHNICAL = "technical"


class AlarmCondition(msgspec.Struct, frozen=True, kw_only=True):
    """A detector's finding about one patient.

    ``code`` is one of ``dispatch.messages.REASONS``; ``params`` carries what its sentence needs
    (``value``, ``usual``, ``age_s``, ``duration_s`` ...), never a rendered sentence: reasons are
    rendered per language when they are shown.
    """

    code: str
    kind: AlarmKind
    priority: Priority
    grave: bool = False
    """True where asking first must not delay help: SOS, fall with stillness, loss of pulse."""
    started_at: datetime
    """When the sign began, in corrected device time."""
    detected_at: datetime
    """When we knew."""
    params: dict[str, Param] = {}
