"""Gives a record to another emergency desk's machine over HTTPS, and reads what it says of it."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

import msgspec
import requests

from dispatch.notifier import NotificationError

LONGEST_ANSWER_BYTES = 65_536
LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


class Answer(msgspec.Struct, kw_only=True, frozen=True):
    """What the other desk says of a record: that it took it, or why not."""

    answer: Literal["accepted", "rejected"]
    reason: str = ""
    reference: str = ""


class PartnerDesk:
    """Another desk's door for EIDO-shaped records.

    Parameters
    ----------
    url : str
        Where records are posted; https, or this very machine.
    timeout_s : float
        For the whole request: others wait behind it.
    """

    name = "partner"

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in LOCAL_HOSTS:
            raise ValueError("url must be https://, so that nobody on the way reads a record")
        self._url, self._timeout_s = url, timeout_s
        self._session = requests.Session()

    def offer(self, body: bytes, callback_url: str, key: str) -> Answer | None:
        """Post one record; the answer, or None where it comes later to ``callback_url``.

        Raises ``NotificationError`` when the desk has not taken the record in; sending the same again, under the same
        ``key``, is then right.
        """
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Idempotency-Key": key,
            "Ansim-Answer-To": callback_url,
        }
        proxies = {"http": "", "https": ""} if urlsplit(self._url).hostname in LOCAL_HOSTS else None
        try:
            answer = self._session.post(
                self._url,
                data=body,
                headers=headers,
                timeout=(self._timeout_s / 3, self._timeout_s * 2 / 3),
                allow_redirects=False,
                proxies=proxies,
            )
        except requests.RequestException as error:
            kind = type(error).__name__
            detail = f"the other desk was not reached: {kind}"
            raise NotificationError(detail, permanent=False, ambiguous=True, code=kind, provider=self.name) from None
        if not 200 <= answer.status_code < 300:
            code = str(answer.status_code)
            raise NotificationError(f"the other desk answered {code}", permanent=False, code=code, provider=self.name)
        return _read(answer.content)


def _read(body: bytes) -> Answer | None:
    """Anything else than an answer means that it comes later."""
    if len(body) > LONGEST_ANSWER_BYTES:
        return None
    try:
        return msgspec.json.decode(body, type=Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
