"""What no story may break: nobody unannounced is rung, nothing leaks before a key, no case is orphaned."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

from journey_people import Phone
from sqlalchemy import select

from service.loopback.calls import Call
from service.store import audit
from service.store.tables import AccessLog, IncidentLog, IncidentRow, table

if TYPE_CHECKING:
    from journey_stage import Stage

_INCIDENT, _LOG, _ACCESS = table(IncidentRow), table(IncidentLog), table(AccessLog)
VITALS = re.compile(
    r"심박|맥박|산소|호흡|체온|혈압|혈당|체중|넘어|쓰러|heart|pulse|oxygen|breath|temperature|pressure|glucose|fell|fall"
    r"|\d\d",
    re.IGNORECASE,
)
HARMLESS = re.compile(
    r"https?://\S+/r/[\w-]{43}|\b[1-9]\d{3}\b|119|약 \d+분|about \d+ min"
    r"|\d+월 \d+일 \d+시|\d+ [A-Z][a-z]+ \d\d:\d\d"
)
"""A signed link, a reply code, the number to call, in how many minutes somebody is there, and from when nobody is."""
LONGEST_STEP = timedelta(hours=1)


class Watch:
    """Looks whenever the stage has come to rest, and once more at the end."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._secrets: set[str] = set()

    def never_say(self, *words: str) -> None:
        """Names and addresses, whole or in pieces, that no stranger may hear."""
        for text in words:
            self._secrets |= {piece for piece in [text, *text.split()] if len(piece) > 1}

    def look(self) -> None:
        self._nobody_unannounced()
        self._nothing_leaks()
        self._nobody_orphaned()

    def at_the_end(self, lines: list[str]) -> None:
        self.look()
        assert self._stage.mended == 0 or self._stage.clock.jumped, "the auditor had to put a case right"
        self._chains_hold()
        numbers = [number.lstrip("+") for number in self._stage.phones]
        for line in lines:
            leaked = [secret for secret in [*self._secrets, *numbers] if secret in line]
            assert not leaked, f"a log line says {leaked}: {line}"

    def _nobody_unannounced(self) -> None:
        for number in {c.to for c in self._stage.network.calls() if not c.caller_is_phone}:
            phone = self._stage.phones.get(number) or Phone(self._stage, number, "a stranger")
            extra = phone.calls[phone.quiet_calls :]
            assert phone.may_ring or not extra, (
                f"unexpected call to {phone.label} at {self._stage.clock()}; timeline:\n{self._stage.timeline()}"
            )
        for number in {m.to for m in self._stage.network.messages()}:
            phone = self._stage.phones.get(number) or Phone(self._stage, number, "a stranger")
            extra = [m.body for m in phone.texts[phone.quiet_texts :]]
            assert phone.may_text or not extra, (
                f"unexpected text to {phone.label}: {extra}; timeline:\n{self._stage.timeline()}"
            )

    def _nothing_leaks(self) -> None:
        for call in self._stage.network.calls():
            for text in before_a_key(call):
                self._harmless(text, f"said to {call.phone_number} before a key was pressed")
            assert not call.errors, f"the carrier gave up on a call, codes {call.errors}"
        for message in self._stage.network.messages():
            self._harmless(message.body, f"written to {message.to}")

    def _harmless(self, text: str, how: str) -> None:
        leaked = [secret for secret in self._secrets if secret in text]
        leaked += VITALS.findall(HARMLESS.sub("", text))
        assert not leaked, f"{leaked} was {how}: {text}"

    def _nobody_orphaned(self) -> None:
        now = self._stage.clock()
        for row in self._stage.rows(select(_INCIDENT).where(_INCIDENT.c.closed_at.is_(None))):
            assert row.next_step_at is not None, f"open case without a next step; timeline:\n{self._stage.timeline()}"
            assert now < row.next_step_at <= now + LONGEST_STEP, (
                f"open case's next step {row.next_step_at} is not ahead of {now}:\n{self._stage.timeline()}"
            )

    def _chains_hold(self) -> None:
        previous: dict[object, bytes] = {}
        for row in self._stage.rows(select(_LOG).order_by(_LOG.c.incident_id, _LOG.c.seq)):
            before = previous.get(row.incident_id, row.incident_id.bytes)
            parts = (row.incident_id.bytes, row.seq.to_bytes(8, "big"), audit.stamp(row.at), row.sealed)
            assert (row.previous, row.hash) == (before, audit.chain(before, *parts)), "a case's log is not a chain"
            previous[row.incident_id] = row.hash
        self.access_chain()

    def access_chain(self) -> None:
        """Every patient's access log is one unbroken chain."""
        previous: dict[object, tuple[int, bytes]] = {}
        for row in self._stage.rows(select(_ACCESS).order_by(_ACCESS.c.patient_id, _ACCESS.c.seq)):
            seq, before = previous.get(row.patient_id, (0, row.patient_id.bytes))
            link = audit.chain(
                before,
                row.patient_id.bytes,
                row.seq.to_bytes(8, "big"),
                audit.stamp(row.at),
                row.viewer_id.bytes,
                row.viewer_role.encode(),
                row.purpose.encode(),
                row.incident_id.bytes if row.incident_id else b"",
            )
            assert (row.seq, row.previous, row.hash) == (seq + 1, before, link), "an access log is not a chain"
            previous[row.patient_id] = (row.seq, row.hash)


def before_a_key(call: Call) -> list[str]:
    """What was said before the first key was pressed: anybody may be listening."""
    first = call.pressed_at[0] if call.pressed_at else "9"
    return [line["text"] for line in call.said if line["at"] < first]
