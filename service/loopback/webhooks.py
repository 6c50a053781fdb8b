"""Posting to our service the way the carrier does: signed, and tried again once."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode
from uuid import uuid4

import requests

HEADERS = {"User-Agent": "TwilioProxy/1.1", "Accept": "*/*", "Connection": "close"}


def signature(auth_token: str, url: str, form: Mapping[str, str]) -> str:
    """X-Twilio-Signature: HMAC-SHA1 over the address and the sorted form.

    https://www.twilio.com/docs/usage/security#validating-requests
    """
    signed = url + "".join(name + form[name] for name in sorted(form))
    return base64.b64encode(hmac.new(auth_token.encode(), signed.encode(), hashlib.sha1).digest()).decode()


@dataclass(frozen=True)
class Answer:
    """What came of a webhook: ``status`` is None when nothing answered."""

    status: int | None
    body: bytes = b""
    content_type: str = ""
    problem: str = ""

    @property
    def good(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def result(self) -> int | str:
        return self.problem if self.status is None else self.status


class Poster:
    """Sends signed webhooks."""

    def __init__(self, auth_token: str) -> None:
        self._auth_token = auth_token
        self._session = requests.Session()
        self._session.trust_env = False
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, requests.adapters.HTTPAdapter(pool_connections=4, pool_maxsize=64))

    def send(self, method: str, url: str, form: Mapping[str, str], timeout_s: float) -> list[Answer]:
        """Every answer in order: a second try follows only after no answer or a 5xx."""
        if method.upper() == "GET":
            url, form = f"{url}{'&' if '?' in url else '?'}{urlencode(form)}", {}
        # The vendor sends the same token with the same event's second try.
        headers = {
            **HEADERS,
            "X-Twilio-Signature": signature(self._auth_token, url, form),
            "I-Twilio-Idempotency-Token": str(uuid4()),
        }
        answers = [self._once(method, url, form, headers, timeout_s)]
        if answers[0].status is None or answers[0].status >= 500:
            answers.append(self._once(method, url, form, headers, timeout_s))
        return answers

    def close(self) -> None:
        self._session.close()

    def _once(
        self, method: str, url: str, form: Mapping[str, str], headers: Mapping[str, str], timeout_s: float
    ) -> Answer:
        try:
            answer = self._session.request(
                method, url, data=form or None, headers=headers, timeout=timeout_s, allow_redirects=False
            )
        except requests.Timeout:
            return Answer(None, problem="timeout")
        except requests.RequestException as error:
            return Answer(None, problem=type(error).__name__)
        return Answer(answer.status_code, answer.content, answer.headers.get("Content-Type", ""))
