"""What goes wrong at the carriers' doors: the next requests, or a share of all of them, by chance with a seed."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from service.loopback.phones import member, positive

HANG_S = 60.0
"""How long an unanswered request is kept open: longer than any sensible client waits."""


class Provider(StrEnum):
    TWILIO = "twilio"
    SOLAPI = "solapi"


class FailMode(StrEnum):
    SERVER_ERROR = "500"
    SERVER_ERROR_ACTED = "500_acted"
    """A server error, although the call or text was taken on."""
    TIMEOUT = "timeout"
    """No answer, and nothing done."""
    TIMEOUT_ACTED = "timeout_acted"
    """No answer, although the call or text was taken on."""
    TOO_MANY = "429"
    OUT_OF_CREDIT = "out_of_credit"

    @property
    def acts(self) -> bool:
        return self in {FailMode.SERVER_ERROR_ACTED, FailMode.TIMEOUT_ACTED}

    @property
    def hangs(self) -> bool:
        return self in {FailMode.TIMEOUT, FailMode.TIMEOUT_ACTED}


class Weather:
    """Which request for a call or text fails, and how."""

    NAMES = ("fail_next", "fail_mode", "fail", "fail_share", "fail_modes", "seed", "retry_after_s", "hang_s")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.fail_next = 0
        self.fail_mode = FailMode.SERVER_ERROR
        self.fail: dict[str, dict[str, Any]] = {}
        """By provider: how many of its next requests fail, and how."""
        self.fail_share = 0.0
        self.fail_modes = list(FailMode)
        self.seed = 0
        self.retry_after_s = 0.0
        """What a 429 asks to be waited; 0: it says nothing of it."""
        self.hang_s = HANG_S
        self._chance = random.Random(0)

    def settings(self) -> dict[str, Any]:
        with self._lock:
            return {name: getattr(self, name) for name in self.NAMES}

    def configure(self, wish: Mapping[str, Any]) -> None:
        """Take what ``read`` has checked."""
        with self._lock:
            for name, value in wish.items():
                setattr(self, name, value)
            if "seed" in wish:
                self._chance = random.Random(self.seed)

    def take(self, provider: Provider) -> FailMode | None:
        """The failure that this provider's next request has to meet, if any."""
        with self._lock:
            own = self.fail.get(provider)
            if own and own["next"]:
                own["next"] -= 1
                return FailMode(own["mode"])
            if self.fail_next:
                self.fail_next -= 1
                return self.fail_mode
            if self.fail_share and self._chance.random() < self.fail_share:
                return self._chance.choice(self.fail_modes)
            return None


def read(name: str, value: Any) -> Any:
    """One setting of the weather, or a ``ValueError`` that says what it must be."""
    if name == "fail_mode":
        return member(FailMode, value, name)
    if name in {"fail_next", "seed"}:
        return int(positive(value, name))
    if name == "fail_share":
        share = positive(value, name)
        if share > 1:
            raise ValueError(f"fail_share must be from 0 to 1, was {share:g}")
        return share
    if name == "fail_modes":
        if not isinstance(value, list) or not value:
            raise ValueError(f"fail_modes must be a list of {', '.join(FailMode)}, was {str(value)[:40]!r}")
        return [member(FailMode, one, name) for one in value]
    if name == "fail":
        return _each(value)
    return positive(value, name)


def _each(value: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(value, Mapping):
        raise ValueError('fail must be an object such as {"twilio": {"next": 3, "mode": "500"}}')
    read_ = {}
    for name, wish in value.items():
        if not isinstance(wish, Mapping) or set(wish) - {"next", "mode"}:
            raise ValueError(f'fail.{str(name)[:20]} must be an object such as {{"next": 3, "mode": "500"}}')
        read_[str(member(Provider, name, "fail"))] = {
            "next": int(positive(wish.get("next", 1), "next")),
            "mode": member(FailMode, wish.get("mode", FailMode.SERVER_ERROR), "mode"),
        }
    return read_
