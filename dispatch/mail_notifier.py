"""Electronic mail by SMTP: the only module that knows it."""

from __future__ import annotations

import contextlib
import re
import smtplib
import ssl
import time
from collections.abc import Callable
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from dispatch.notifier import Fault, MailRequest, NotificationError

PORTS = {"smtp": 25, "starttls": 587, "smtps": 465}
ADDRESS = re.compile(r"[^\s@<>,;\"]+@[^\s@<>,;\"]+")
REFERENCE = re.compile(r"[A-Za-z0-9._-]{1,64}")
# RFC 5321 4.2.3 and RFC 3463: the mailbox itself is refused; 552 (full) and 554 (policy) are not its fault.
MAILBOX_GONE = frozenset({550, 551, 553})
BAD_CREDENTIALS = 535
REFUSED_US = frozenset({530, 534, BAD_CREDENTIALS, 538})


class Server(NamedTuple):
    """Where mail is handed in."""

    scheme: str
    host: str
    port: int
    user: str
    password: str


def read_url(url: str) -> Server:
    """``smtp://``, ``starttls://`` or ``smtps://`` with host, and user and password where the server wants them.

    Raises ``ValueError`` for what could never work, and for a password that would travel in the clear.
    """
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname or parts.path not in {"", "/"} or parts.query:
        raise ValueError("the mail server's address must be smtp://, starttls:// or smtps:// with a host")
    if parts.password and parts.scheme == "smtp":
        raise ValueError("a password must not travel in the clear: use starttls:// or smtps://")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Server(parts.scheme, parts.hostname, parts.port or PORTS[parts.scheme], user, password)


class _WrongPassword(smtplib.SMTPResponseException):
    """The server refuses these credentials, whichever way they are shown."""


class _Hurried(smtplib.SMTP):
    """One conversation within one time-out, however many words it takes."""

    until: float | None = None

    def getreply(self) -> tuple[int, bytes]:
        if self.until is not None and self.sock is not None:
            self.sock.settimeout(max(0.01, self.until - time.monotonic()))
        return super().getreply()

    def auth(self, mechanism: str, *given: Any, **more: Any) -> tuple[int, bytes]:
        """Not every mechanism in turn, as smtplib does: servers hang up on whoever goes on guessing."""
        try:
            return super().auth(mechanism, *given, **more)
        except smtplib.SMTPAuthenticationError as error:
            if error.smtp_code == BAD_CREDENTIALS:
                raise _WrongPassword(error.smtp_code, error.smtp_error) from None
            raise


class _HurriedTls(_Hurried, smtplib.SMTP_SSL):
    """The same, in TLS from the first word."""


class SmtpMailer:
    """One mail server; every mail in a connection of its own, so that none waits for another."""

    name = "smtp"

    def __init__(
        self,
        url: str,
        sender: str,
        clock: Callable[[], datetime],
        timeout_s: float = 3.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._server = read_url(url)
        if not ADDRESS.fullmatch(parseaddr(sender)[1]):
            raise ValueError("the sender must be an e-mail address such as Ansim <ansim@city.example>")
        self._sender = sender
        self._clock = clock
        self._timeout_s = timeout_s
        self._tls = tls or ssl.create_default_context()

    def send_mail(self, request: MailRequest) -> str:
        """Hand one mail over. The same reference gives the same Message-ID, so a second try is the same mail."""
        if not ADDRESS.fullmatch(request.to) or not request.to.isascii():
            raise _error("the address cannot be written to", permanent=True, fault=Fault.NUMBER, code="address")
        mail = self._mail(request)
        handing_over = False
        try:
            smtp = self._connect()
            try:
                handing_over = True
                smtp.send_message(mail, from_addr=parseaddr(self._sender)[1], to_addrs=[request.to])
            finally:
                _part(smtp)
        except smtplib.SMTPRecipientsRefused as error:
            raise _refused(*next(iter(error.recipients.values()))) from None
        except smtplib.SMTPResponseException as error:
            raise _refused(error.smtp_code, error.smtp_error) from None
        except (smtplib.SMTPException, OSError) as error:
            # Cut off from the original, which may name the address.
            kind = type(error).__name__
            raise _error(f"the mail server failed: {kind}", ambiguous=handing_over, code=kind) from None
        return str(mail["Message-ID"])

    def _connect(self) -> smtplib.SMTP:
        server, until = self._server, time.monotonic() + self._timeout_s
        smtp = _HurriedTls(timeout=self._timeout_s, context=self._tls) if server.scheme == "smtps" else _Hurried(
            timeout=self._timeout_s
        )
        smtp.until = until
        try:
            # As smtplib does itself when it is made with a host: TLS needs the name.
            smtp._host = server.host  # type: ignore[attr-defined]
            status, words = smtp.connect(server.host, server.port)
            if status != 220:
                raise smtplib.SMTPConnectError(status, words)
            if server.scheme == "starttls":
                smtp.starttls(context=self._tls)
            if server.user:
                smtp.login(server.user, server.password)
        except BaseException:
            smtp.close()
            raise
        return smtp

    def _mail(self, request: MailRequest) -> EmailMessage:
        if not REFERENCE.fullmatch(request.reference):
            raise ValueError("reference must be letters, digits, dots and dashes: it becomes the Message-ID")
        mail = EmailMessage()
        mail["From"] = self._sender
        mail["To"] = request.to
        mail["Subject"] = " ".join(request.subject.split())
        mail["Date"] = format_datetime(self._clock())
        mail["Message-ID"] = f"<{request.reference}@{parseaddr(self._sender)[1].rpartition('@')[2]}>"
        # RFC 3834: no vacation notice answers it, and no such notice is ever taken for an answer.
        mail["Auto-Submitted"] = "auto-generated"
        mail["Importance"] = "high"
        mail.set_content(request.body)
        return mail


def _part(smtp: smtplib.SMTP) -> None:
    """Say goodbye; whether that goes well changes nothing about the mail."""
    with contextlib.suppress(smtplib.SMTPException, OSError):
        smtp.quit()
    smtp.close()


def _refused(status: int, words: bytes | str) -> NotificationError:
    """RFC 5321: 4xx may be tried again, 5xx not; only a refused mailbox counts against the address."""
    said = words.decode("ascii", "replace") if isinstance(words, bytes) else words
    extended = re.match(r"[245]\.\d{1,3}\.\d{1,3}", said)
    code = f"{status} {extended[0]}" if extended else str(status)
    if not 500 <= status < 600:
        return _error(f"the mail server put it off: {code}", code=str(status))
    fault = Fault.CARRIER
    if status in REFUSED_US:
        fault = Fault.ACCOUNT
    elif status in MAILBOX_GONE and (extended is None or extended[0].startswith("5.1.")):
        fault = Fault.NUMBER
    return _error(f"the mail server refused it: {code}", permanent=True, fault=fault, code=str(status))


def _error(
    detail: str,
    *,
    permanent: bool = False,
    ambiguous: bool = False,
    fault: Fault = Fault.CARRIER,
    code: str = "",
) -> NotificationError:
    return NotificationError(
        detail, permanent=permanent, ambiguous=ambiguous, fault=fault, code=code, provider=SmtpMailer.name
    )
