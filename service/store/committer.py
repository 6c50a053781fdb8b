"""The committer: waiting threads' work in groups, one durable commit for each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy.exc import DBAPIError, IntegrityError

from service.store.database import AWAY, Database, Tx

_GROUP_MOST = 64
_GROUP_MOST_BESIDE_OTHERS = 4
"""Where several write: what locks many patients for long makes the other groups, and other processes, wait."""
_AT_A_TIME = 16
_LEADERS = 4
"""How many groups a process commits at a time where the database lets several write."""
T = TypeVar("T")
Many = Callable[[Tx, list[Any], bool], list[Any]]


@dataclass(eq=False)
class _Job(Generic[T]):
    work: Callable[[Tx], T] | None
    key: bytes
    many: Many | None = None
    item: Any = None
    leads: bool = False
    """Its thread commits, for others of its kind too."""
    done: bool = False
    result: Any = None
    error: BaseException | None = None
    woken: threading.Event = field(default_factory=threading.Event)
    """Set once it is done, or once it leads."""

    def over(self) -> None:
        self.done = True
        self.woken.set()

    def run(self, tx: Tx) -> None:
        self.result = self.work(tx) if self.work else _careful(tx, self)


class _Broke(Exception):
    """One piece of a group raised."""

    def __init__(self, job: _Job[Any], error: BaseException) -> None:
        self.job, self.error = job, error


class Committer:
    """Groups the work of waiting threads into one transaction: one fsync serves them all.

    One of them leads and commits for everybody waiting (several do on PostgreSQL); the others sleep until their own
    work is done, or until they lead. Work must be repeatable: when a piece of a group fails, it runs again in a
    transaction of its own, and the others in another group.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Job[Any]] = []
        self._lock = threading.Lock()
        self._alone = database.is_sqlite
        self._free = 1 if self._alone else _LEADERS

    def run(self, work: Callable[[Tx], Any], *, key: UUID | None = None) -> Any:
        """Run ``work`` in a transaction and return its result once that is durable.

        ``key`` is the patient whose rows are locked; groups lock in key order, so that two of them
        cannot wait for each other.
        """
        return self._wait(_Job(work, key.bytes if key else b""))

    def run_many(self, many: Many, item: Any, *, key: UUID) -> Any:
        """Like `run`, for work that is cheaper together: ``many`` gets the items of its group at once.

        It returns their results in order. When a group fails, each item comes again alone, with True as the
        third argument.
        """
        return self._wait(_Job(None, key.bytes, many, item))

    def each(self, items: Sequence[T], work: Callable[[T], Any]) -> None:
        """Do ``work`` for every item, begun in their order and several at a time: what they commit is grouped.

        What ``work`` raises is raised here, once all are done.
        """
        with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="each") as pool:
            list(pool.map(work, items))

    def _wait(self, job: _Job[Any]) -> Any:
        with self._lock:
            self._waiting.append(job)
            if self._free:
                self._free -= 1
                job.leads = True
        if not job.leads:
            self._sleep(job)
        if job.leads:
            try:
                while not job.done:
                    self._commit(job)
            finally:
                self._pass_on()
        if job.error is not None:
            raise job.error
        return job.result

    def _sleep(self, job: _Job[Any]) -> None:
        try:
            job.woken.wait()
        except BaseException:  # the process is told to end: nobody may wait for this thread to lead
            with self._lock:
                self._waiting = [one for one in self._waiting if one is not job]
            if job.leads:
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Whoever has waited longest leads next; with nobody waiting, whoever comes."""
        with self._lock:
            following = next((job for job in self._waiting if not job.leads), None)
            if following is None:
                self._free += 1
            else:
                following.leads = True
                following.woken.set()

    def _take(self, leader: _Job[Any]) -> list[_Job[Any]]:
        """Its group. Of one kind only: a group locks its patients once through, in the order of their keys."""
        most = _GROUP_MOST if self._alone or leader.many else _GROUP_MOST_BESIDE_OTHERS
        with self._lock:
            others = [job for job in self._waiting if job.many is leader.many and not job.leads]
            group = [leader, *others[: most - 1]]
            self._waiting = [job for job in self._waiting if job not in group]
        return sorted(group, key=lambda job: job.key)

    def _commit(self, leader: _Job[Any]) -> None:
        group: list[_Job[Any]] = []
        try:
            with self._database.write() as tx:
                # Taken only now: whoever came while another process was writing shares this commit.
                group = self._take(leader)
                _work(tx, group)
        except _Broke as broke:
            if len(group) == 1 and not _may_pass(broke.error):
                _refuse(group, broke.error)
            else:
                self._without(broke.job, group)
        except BaseException as error:  # noqa: BLE001 - handed to the waiting threads, never swallowed
            self._apart(group or self._take(leader), error)
        else:
            for job in group:
                job.over()

    def _without(self, broken: _Job[Any], group: list[_Job[Any]]) -> None:
        """One piece failed: it runs alone, and the others again, unless there is no writing at all."""
        self._commit_alone(broken)
        others = [job for job in group if job is not broken]
        if isinstance(broken.error, AWAY):
            self._refuse_all(others, broken.many, broken.error)
            return
        with self._lock:
            self._waiting = others + self._waiting

    def _apart(self, group: list[_Job[Any]], error: BaseException) -> None:
        """The commit failed, or what is done for many at once: each alone, until it shows that nothing is written."""
        if len(group) == 1 and group[0].many is None and not _may_pass(error):
            _refuse(group, error)
            return
        for number, job in enumerate(group, start=1):
            self._commit_alone(job)
            if isinstance(job.error, AWAY):
                self._refuse_all(group[number:], job.many, job.error)
                return

    def _refuse_all(self, group: list[_Job[Any]], many: Many | None, error: BaseException) -> None:
        """Nothing can be written: who would have shared a large group is told so too, untried."""
        with self._lock:
            same = [] if self._alone else [job for job in self._waiting if job.many is many and not job.leads]
            others = same[: _GROUP_MOST - len(group)]
            self._waiting = [job for job in self._waiting if job not in others]
        _refuse([*group, *others], error)

    def _commit_alone(self, job: _Job[Any]) -> None:
        for attempt in range(3):
            try:
                with self._database.write() as tx:
                    job.run(tx)
                job.error = None
                break
            except BaseException as error:  # noqa: BLE001 - handed to the waiting thread, never swallowed
                job.error = error
                if not _may_pass(error) or attempt == 2:
                    break
        job.over()


def _work(tx: Tx, group: list[_Job[Any]]) -> None:
    many = group[0].many
    if many is not None:
        for job, result in zip(group, many(tx, [job.item for job in group], False), strict=True):
            job.result = result
        return
    for job in group:
        try:
            job.run(tx)
        except BaseException as error:
            raise _Broke(job, error) from error


def _refuse(jobs: list[_Job[Any]], error: BaseException) -> None:
    for job in jobs:
        job.error = error
        job.over()


def _careful(tx: Tx, job: _Job[Any]) -> Any:
    assert job.many is not None  # noqa: S101 - a job has work or many
    return job.many(tx, [job.item], True)[0]


def _may_pass(error: BaseException) -> bool:
    """A race with another process (unique key, deadlock, lock): the work, run again, sees the winner."""
    return isinstance(error, IntegrityError | DBAPIError)
