"""SOLAPI's voice messages: words known beforehand, one key, and a report when all is over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service.loopback.calls import Call

RING_S = 30
"""How long it rings; SOLAPI has no setting for it."""
KEY_S = 8
LISTENED = "4000"
# https://developers.solapi.com/references/message-status-codes : 3xxx are the networks' reasons.
FAILED = {"busy": "3026", "no-answer": "3025", "failed": "3024", "canceled": "3024"}
WILLING = frozenset({"1", "3"})
"""Who would press 1 or 3 in a full menu presses 1 where that is the only key."""


@dataclass(frozen=True)
class VoiceMessage:
    """What SOLAPI was asked to say."""

    text: str
    reply_range: int | None = None
    group_id: str = ""
    custom_fields: Mapping[str, str] = field(default_factory=dict)

    def takes(self, key: str) -> bool:
        """Whether this key is one of those offered."""
        return self.reply_range is not None and key.isdigit() and 1 <= int(key) <= self.reply_range

    def report(self, call: Call) -> dict[str, Any]:
        """The report of a call that is over."""
        answered = "answered" in call.times
        return {
            **common(call.sid, self.group_id, "VOICE", call.to, call.from_, self.custom_fields),
            "statusCode": LISTENED if answered else FAILED.get(call.status, "3024"),
            "dateProcessed": call.times["created"].isoformat(),
            "dateReported": call.times["ended"].isoformat(),
            "voiceDuration": call.duration_s or 0,
            "voiceReplied": any(self.takes(key) for key in call.pressed),
        }


def common(
    message_id: str, group_id: str, kind: str, to: str, from_: str, custom_fields: Mapping[str, str]
) -> dict[str, Any]:
    """What every message of SOLAPI says about itself, in its reports and its list."""
    return {
        "messageId": message_id,
        "groupId": group_id,
        "type": kind,
        "to": national(to),
        "from": national(from_),
        "customFields": dict(custom_fields),
    }


def national(number: str) -> str:
    return "0" + number.removeprefix("+82")
