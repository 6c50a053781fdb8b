"""The verdict on every posted item: what a device may delete, and why the rest was refused."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Outcome = Literal["stored", "duplicate", "rejected"]


class Dropped(msgspec.Struct, frozen=True, omit_defaults=True):
    """A field that was left out of an otherwise stored item."""

    field: str
    code: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"from_": "from"}):
    """One verdict over consecutive numbers; both ends null where the item carried no usable number."""

    from_: int | None
    to: int | None
    verdict: Outcome
    code: str | None = None
    field: str | None = None
    detail: str | None = None
    dropped: list[Dropped] | None = None


class _Mark(msgspec.Struct, frozen=True):
    """What is said about one item; equal marks of neighbours are told as one verdict."""

    verdict: Outcome
    code: str | None = None
    field: str | None = None
    detail: str | None = None
    dropped: tuple[Dropped, ...] = ()

    def spoken(self, first: int | None, last: int | None) -> Verdict:
        return Verdict(
            from_=first,
            to=last,
            verdict=self.verdict,
            code=self.code,
            field=self.field,
            detail=self.detail,
            dropped=list(self.dropped) or None,
        )

    def reason(self) -> tuple[object, ...]:
        """Details quote values: they differ within a run without being another verdict."""
        return (self.verdict, self.code, self.field, self.dropped)


_STORED = _Mark("stored")


class VerdictBook:
    """Collects one verdict for each posted item and tells them run by run.

    A sequence number posted twice within one upload has two verdicts: the first item's, and after it
    `duplicate` or `rejected/seq_conflict` for the second.
    """

    def __init__(self) -> None:
        self._accepted: list[Ints] = []
        self._marks: dict[int, _Mark] = {}
        self._seconds: list[tuple[int, _Mark]] = []
        self._nameless: list[_Mark] = []

    def copy(self) -> VerdictBook:
        """A book of its own that begins with what this one says."""
        book = VerdictBook()
        book._accepted, book._marks = list(self._accepted), dict(self._marks)
        book._seconds, book._nameless = list(self._seconds), list(self._nameless)
        return book

    def accept(self, seqs: Ints) -> None:
        """Take these numbers as stored unless something else is said of them later."""
        self._accepted.append(seqs)

    def reject(self, seq: int, code: str, field: str | None = None, detail: str | None = None) -> None:
        """Say that nothing of this item was stored."""
        dropped = self._marks.get(seq, _STORED).dropped
        self._marks[seq] = _Mark("rejected", code, field, detail, dropped)

    def drop(self, seq: int, field: str, code: str, detail: str | None = None) -> None:
        """Name a field that was left out of this item."""
        mark = self._marks.get(seq, _STORED)
        said = (*mark.dropped, Dropped(field, code))
        self._marks[seq] = _Mark(mark.verdict, mark.code, mark.field, mark.detail or detail, said)

    def duplicate(self, seq: int) -> None:
        """Say that we hold this very item already."""
        self._marks[seq] = _Mark("duplicate")

    def conflict(self, seq: int) -> None:
        """Say that we hold another item under this number."""
        self._marks[seq] = _CONFLICT

    def second(self, seq: int, same: bool) -> None:
        """Say of a repeated number within one upload whether it repeats the content."""
        self._seconds.append((seq, _Mark("duplicate") if same else _CONFLICT))

    def second_rejected(
        self, seq: int, code: str, field: str | None, detail: str | None, dropped: tuple[Dropped, ...]
    ) -> None:
        """Refuse an item whose number another item of the same upload holds."""
        self._seconds.append((seq, _Mark("rejected", code, field, detail, dropped)))

    def reject_nameless(self, code: str, field: str | None, detail: str) -> None:
        """Refuse an item that carries no usable number; the detail names its place in the upload."""
        self._nameless.append(_Mark("rejected", code, field, detail))

    def runs(self) -> list[Verdict]:
        """Tell the verdicts by ascending number, neighbours with the same reason as one."""
        said = self._first_runs() + _merge(sorted(self._seconds, key=lambda pair: pair[0]))
        return said + [mark.spoken(None, None) for mark in self._nameless]

    def _first_runs(self) -> list[Verdict]:
        marked = np.fromiter(self._marks, dtype=np.int64, count=len(self._marks))
        seqs = np.unique(np.concatenate([*self._accepted, marked])) if self._accepted else np.sort(marked)
        if not seqs.size:
            return []
        kind = np.zeros(seqs.size, dtype=np.int64)
        kinds: dict[tuple[object, ...], int] = {}
        told = [
            0 if mark == _STORED else kinds.setdefault(mark.reason(), len(kinds) + 1)
            for mark in self._marks.values()
        ]
        kind[np.searchsorted(seqs, marked)] = told
        breaks = np.flatnonzero((np.diff(seqs) != 1) | (np.diff(kind) != 0)) + 1
        firsts = seqs[np.concatenate(([0], breaks))].tolist()
        lasts = seqs[np.concatenate((breaks, [seqs.size])) - 1].tolist()
        ends = zip(firsts, lasts, strict=True)
        return [self._marks.get(first, _STORED).spoken(first, last) for first, last in ends]


_CONFLICT = _Mark(
    "rejected", "seq_conflict", "seq", "this number holds other content: send a new boot_id after a reset"
)


def _merge(said: list[tuple[int, _Mark]]) -> list[Verdict]:
    runs: list[tuple[int, int, _Mark]] = []
    for seq, mark in said:
        if runs and runs[-1][1] + 1 == seq and runs[-1][2].reason() == mark.reason():
            runs[-1] = (runs[-1][0], seq, runs[-1][2])
        else:
            runs.append((seq, seq, mark))
    return [mark.spoken(first, last) for first, last, mark in runs]
