"""Electronic mail, handed to a real SMTP server on loopback."""

from __future__ import annotations

import email
import email.policy
import logging
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dispatch.mail_notifier import SmtpMailer, read_url
from dispatch.notifier import Fault, MailRequest, NotificationError

NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
DAUGHTER, SENDER = "daughter@home.example", "안심 <ansim@city.example>"
USER, PASSWORD = "ansim", "a-mail-password"


class Postbox:
    """What the server was given, and what it answers."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.to: list[str] = []
        self.rcpt = self.data = "250 OK"
        self.logins: list[tuple[bytes, bytes]] = []

    async def handle_RCPT(self, server, session, envelope, address, options):
        if self.rcpt.startswith("2"):
            envelope.rcpt_tos.append(address)
        return self.rcpt

    async def handle_DATA(self, server, session, envelope):
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        self.to += envelope.rcpt_tos
        return self.data

    def authenticate(self, server, session, envelope, mechanism, data) -> AuthResult:
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == PASSWORD.encode(), handled=False)


@pytest.fixture(scope="module")
def identity(tmp_path_factory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's certificate, and a client's trust in it."""
    folder: Path = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "both.pem").write_bytes(private + pem)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(folder / "both.pem")
    return ours, ssl.create_default_context(cadata=pem.decode())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Locked(Controller):
    """A server that takes mail only after STARTTLS and a log-in, or that speaks TLS from the first word."""

    def __init__(self, box: Postbox, context: ssl.SSLContext | None, *, at_once: bool) -> None:
        self.box, self.context = box, context
        super().__init__(box, hostname="localhost", port=free_port(), ssl_context=context if at_once else None)

    def factory(self) -> SMTP:
        starting = self.context if self.ssl_context is None else None
        return SMTP(
            self.handler,
            tls_context=starting,
            require_starttls=starting is not None,
            auth_required=starting is not None,
            auth_require_tls=starting is not None,
            authenticator=self.box.authenticate,
        )


@pytest.fixture
def box() -> Postbox:
    return Postbox()


@pytest.fixture
def url(box) -> Iterator[str]:
    server = Controller(box, hostname="127.0.0.1", port=free_port())
    server.start()
    yield f"smtp://127.0.0.1:{server.port}"
    server.stop()


def mailer(url: str, **more: object) -> SmtpMailer:
    return SmtpMailer(url, SENDER, lambda: NOW, **{"timeout_s": 6.0, **more})  # type: ignore[arg-type]


def mail(to: str = DAUGHTER, reference: str = "0199-n1", subject: str = "안심: 확인이 필요해요") -> MailRequest:
    return MailRequest(to=to, reference=reference, subject=subject, body="링크를 눌러 확인해 주세요.\n\n.한 줄\n")


def test_a_mail_arrives_whole_in_korean(url, box):
    sent = mailer(url).send_mail(mail())
    (got,) = box.mails
    assert box.to == [DAUGHTER]
    assert (got["Subject"], got["To"], got["From"]) == ("안심: 확인이 필요해요", DAUGHTER, SENDER)
    assert got.get_content().replace("\r\n", "\n") == "링크를 눌러 확인해 주세요.\n\n.한 줄\n"
    assert got["Message-ID"] == sent == "<0199-n1@city.example>"
    assert (got["Auto-Submitted"], got["Date"].datetime) == ("auto-generated", NOW)


def test_a_second_try_is_the_same_mail(url, box):
    one = mailer(url)
    assert one.send_mail(mail()) == one.send_mail(mail())
    assert len({got["Message-ID"] for got in box.mails}) == 1


def test_a_subject_cannot_smuggle_in_a_header(url, box):
    mailer(url).send_mail(mail(subject="x\r\nBcc: stranger@example.org"))
    (got,) = box.mails
    assert "Bcc" not in got
    assert box.to == [DAUGHTER]


@pytest.mark.parametrize("to", ["", "nobody", "a@b, c@d", "a@b\r\nRCPT TO:<c@d>", "엄마@집.example"])
def test_what_is_no_address_is_never_handed_over(url, box, to):
    with pytest.raises(NotificationError) as caught:
        mailer(url).send_mail(mail(to=to))
    assert (caught.value.permanent, caught.value.fault, box.mails) == (True, Fault.NUMBER, [])


@pytest.mark.parametrize(
    ("rcpt", "data", "permanent", "fault"),
    [
        ("550 5.1.1 no such user here", "250 OK", True, Fault.NUMBER),
        ("550 5.7.1 we do not like you", "250 OK", True, Fault.CARRIER),
        ("553 bad mailbox", "250 OK", True, Fault.NUMBER),
        ("450 4.2.1 try later", "250 OK", False, Fault.CARRIER),
        ("552 5.2.2 mailbox full", "250 OK", True, Fault.CARRIER),
        ("250 OK", "554 5.7.1 spam", True, Fault.CARRIER),
        ("250 OK", "451 4.3.0 local error", False, Fault.CARRIER),
        ("530 5.7.0 log in first", "250 OK", True, Fault.ACCOUNT),
    ],
)
def test_each_refusal_says_whether_trying_again_can_help_and_whose_fault_it_is(url, box, rcpt, data, permanent, fault):
    box.rcpt, box.data = rcpt, data
    with pytest.raises(NotificationError) as caught:
        mailer(url).send_mail(mail())
    error = caught.value
    assert (error.permanent, error.ambiguous, error.fault, error.provider) == (permanent, False, fault, "smtp")
    assert error.code == (rcpt if not rcpt.startswith("2") else data)[:3]
    assert DAUGHTER not in str(error)
    assert error.__suppress_context__


def test_starttls_comes_before_the_password(box, identity):
    server = Locked(box, identity[0], at_once=False)
    server.start()
    try:
        mailer(f"starttls://{USER}:{PASSWORD}@localhost:{server.port}", tls=identity[1]).send_mail(mail())
        assert box.logins == [(USER.encode(), PASSWORD.encode())]
        assert len(box.mails) == 1
        with pytest.raises(NotificationError) as caught:
            mailer(f"starttls://{USER}:wrong@localhost:{server.port}", tls=identity[1]).send_mail(mail())
        assert (caught.value.permanent, caught.value.fault) == (True, Fault.ACCOUNT)
        before = len(box.logins)
        with pytest.raises(NotificationError):
            mailer(f"starttls://{USER}:{PASSWORD}@localhost:{server.port}").send_mail(mail())
        assert len(box.logins) == before, "an unknown certificate must end it before the password"
    finally:
        server.stop()


def test_tls_from_the_first_word(box, identity):
    server = Locked(box, identity[0], at_once=True)
    server.start()
    try:
        mailer(f"smtps://{USER}:{PASSWORD}@localhost:{server.port}", tls=identity[1]).send_mail(mail())
    finally:
        server.stop()
    assert len(box.mails) == 1


def test_a_server_that_is_not_there_was_never_given_the_mail():
    with pytest.raises(NotificationError) as caught:
        mailer(f"smtp://127.0.0.1:{free_port()}").send_mail(mail())
    assert (caught.value.permanent, caught.value.ambiguous) == (False, False)


def test_a_server_that_goes_silent_is_left_in_time_and_may_have_it():
    with socket.create_server(("127.0.0.1", 0)) as door:
        began = time.monotonic()
        with pytest.raises(NotificationError) as caught:
            mailer(f"smtp://127.0.0.1:{door.getsockname()[1]}", timeout_s=0.4).send_mail(mail())
    assert time.monotonic() - began < 20, "it hung"
    assert caught.value.permanent is False


def test_nothing_personal_is_logged(url, caplog):
    with caplog.at_level(logging.DEBUG, logger=""):
        logging.getLogger("mail.log").setLevel(logging.WARNING)
        mailer(url).send_mail(mail())
    assert DAUGHTER not in caplog.text
    assert "확인해" not in caplog.text


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://mail.example", "smtp://, starttls:// or smtps://"),
        ("smtp://", "with a host"),
        ("smtp://user:secret@mail.example", "in the clear"),
    ],
)
def test_an_address_that_cannot_work_is_refused_without_showing_it(url, words):
    with pytest.raises(ValueError, match=words) as caught:
        read_url(url)
    assert "secret" not in str(caught.value)


def test_ports_and_escaped_passwords_are_read():
    assert read_url("starttls://a%40b:p%3Aw@mail.example") == ("starttls", "mail.example", 587, "a@b", "p:w")
    assert read_url("smtps://mail.example").port == 465
    assert read_url("smtp://mail.example:2525").port == 2525
    with pytest.raises(ValueError, match="the sender must be"):
        SmtpMailer("smtp://mail.example", "Ansim", lambda: NOW)
    with pytest.raises(ValueError, match="reference must be"):
        mailer("smtp://127.0.0.1:9").send_mail(mail(reference="a b"))
