"""Posting to our service the way the carrier does: signed, and tried again once."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit
from uuid import uuid4

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


class ReportPoster:
    """Sends SOLAPI's reports: JSON, with the digest of a shared secret, and again when refused.

    https://developers.solapi.com/references/webhook : five times in all, at growing intervals; here all at once.
    """

    TRIES = 5

    def __init__(self, secret: str) -> None:
        self._shown = hashlib.sha1(secret.encode()).hexdigest() if secret else ""

    @staticmethod
    def form(report: Mapping[str, Any]) -> dict[str, str]:
        """A report as what travels through a lane."""
        return {"Report": json.dumps([report], ensure_ascii=False), "MessageStatus": str(report["statusCode"])}

    def send(self, method: str, url: str, form: Mapping[str, str], timeout_s: float) -> list[Answer]:
        """Every answer in order, until one is 2xx."""
        headers = {"Content-Type": "application/json", "X-Solapi-Event-Name": "SINGLE-REPORT"}
        if self._shown:
            headers["X-Solapi-Secret"] = self._shown
        answers: list[Answer] = []
        while len(answers) < self.TRIES and not (answers and answers[-1].good):
            answers.append(once(method, url, form["Report"].encode(), headers, timeout_s))
        return answers


class Poster:
    """Sends signed webhooks."""

    def __init__(self, auth_token: str) -> None:
        self._auth_token = auth_token

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
        if form:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(form).encode() if form else None
        answers = [once(method, url, body, headers, timeout_s)]
        if answers[0].status is None or answers[0].status >= 500:
            answers.append(once(method, url, body, headers, timeout_s))
        return answers


def once(method: str, url: str, body: bytes | None, headers: Mapping[str, str], timeout_s: float) -> Answer:
    """One try, straight to the address: no redirect, and no machine-wide proxy."""
    parts = urlsplit(url)
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request(method, urlunsplit(("", "", parts.path or "/", parts.query, "")), body, dict(headers))
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(), answer.headers.get("Content-Type", ""))
    except TimeoutError:
        return Answer(None, problem="timeout")
    except (OSError, HTTPException) as error:
        return Answer(None, problem=type(error).__name__)
    finally:
        connection.close()
