"""Settings of carriers, mail and push, and what is built from them."""

from __future__ import annotations

import base64
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dispatch.failover_notifier import FailoverNotifier
from dispatch.mail_notifier import SmtpMailer
from dispatch.notifier import CallRequest, Fault, Found, NotificationError, Reach
from dispatch.push_notifier import WebPusher
from dispatch.solapi_notifier import SolapiNotifier
from dispatch.twilio_notifier import TwilioNotifier
from service import adapters
from service.config import Carrier, ConfigError, Settings, settings_markdown, shown_settings

TWILIO = {
    "ANSIM_TWILIO_ACCOUNT_SID": "AC1",
    "ANSIM_TWILIO_AUTH_TOKEN": "a-token",
    "ANSIM_TWILIO_FROM": "+8221234567",
}
SOLAPI = {
    "ANSIM_SOLAPI_API_KEY": "NCS1",
    "ANSIM_SOLAPI_API_SECRET": "an-api-secret",
    "ANSIM_SOLAPI_FROM": "+8221234567",
    "ANSIM_SOLAPI_WEBHOOK_SECRET": "a-webhook-secret",
}
MAIL = {"ANSIM_SMTP_URL": "starttls://ansim:hush@mail.example", "ANSIM_MAIL_FROM": "안심 <ansim@city.example>"}
READY = TWILIO | {
    "ANSIM_KEK": base64.b64encode(b"k" * 32).decode(),
    "ANSIM_FALLBACK_NUMBER": "+82212345679",
    "ANSIM_PUBLIC_URL": "https://ansim.example",
}


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize(
    ("given", "order"),
    [
        ("", ("twilio",)),
        ("solapi", ("solapi",)),
        ("Twilio, SOLAPI", ("twilio", "solapi")),
        ("solapi,twilio", ("solapi", "twilio")),
    ],
)
def test_carriers_are_listed_first_choice_first(given, order):
    assert Settings.from_env({"ANSIM_CARRIER": given}).carrier == tuple(Carrier(name) for name in order)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ANSIM_CARRIER", "twilio,pigeon"),
        ("ANSIM_CARRIER", "twilio,twilio"),
        ("ANSIM_CARRIER", "twilio,"),
        ("ANSIM_SOLAPI_FROM", "+12125550100"),
        ("ANSIM_SOLAPI_FROM", "02-123-4567"),
        ("ANSIM_SOLAPI_API_URL", "solapi.com"),
        ("ANSIM_SMTP_URL", "mail.example"),
        ("ANSIM_SMTP_URL", "smtp://ansim:hush@mail.example"),
        ("ANSIM_SMTP_URL", "smtps://mail.example/inbox"),
        ("ANSIM_SMTP_URL", "smtps://mail.example:port"),
        ("ANSIM_MAIL_FROM", "Ansim"),
    ],
)
def test_a_bad_value_stops_the_start_with_a_sentence_that_shows_no_secret(name, value):
    with pytest.raises(ConfigError) as caught:
        Settings.from_env({name: value})
    sentence = str(caught.value)
    assert sentence.startswith(f"{name} must ")
    assert " was " in sentence
    assert (value in sentence) is (name != "ANSIM_SMTP_URL")


def test_mail_needs_a_sender():
    with pytest.raises(ConfigError, match="ANSIM_MAIL_FROM must be set with ANSIM_SMTP_URL"):
        Settings.from_env({"ANSIM_SMTP_URL": "smtps://mail.example"})


def test_every_listed_carrier_must_be_complete_before_serving():
    missing = Settings.from_env(READY | {"ANSIM_CARRIER": "twilio,solapi"}).check_ready_to_serve()
    assert [problem.split()[0] for problem in missing] == list(SOLAPI)
    assert Settings.from_env(READY | SOLAPI | {"ANSIM_CARRIER": "twilio,solapi"}).check_ready_to_serve() == []
    alone = {name: value for name, value in READY.items() if name not in TWILIO} | SOLAPI
    assert Settings.from_env(alone | {"ANSIM_CARRIER": "solapi"}).check_ready_to_serve() == []


def test_no_secret_shows_in_repr_or_in_the_doctor():
    settings = Settings.from_env(READY | SOLAPI | MAIL)
    shown = repr(settings) + repr([text for _, text in shown_settings(settings)])
    for secret in ("a-token", "an-api-secret", "a-webhook-secret", "hush"):
        assert secret not in shown
    assert ("ANSIM_CARRIER", "twilio") in [(setting.name, text) for setting, text in shown_settings(settings)]
    assert "twilio, solapi" in settings_markdown()


@pytest.mark.parametrize(
    ("environ", "built"),
    [
        ({}, adapters.NoCarrier),
        (TWILIO, TwilioNotifier),
        (SOLAPI | {"ANSIM_CARRIER": "solapi"}, SolapiNotifier),
        (TWILIO | {"ANSIM_CARRIER": "twilio,solapi"}, TwilioNotifier),
        (TWILIO | SOLAPI | {"ANSIM_CARRIER": "solapi,twilio"}, FailoverNotifier),
    ],
)
def test_what_is_set_up_is_built_in_its_order(environ, built):
    notifier = adapters.build_notifier(Settings.from_env(environ), now)
    assert isinstance(notifier, built)
    if isinstance(notifier, FailoverNotifier):
        assert notifier.name == "solapi,twilio"
    assert notifier.speaks_up_front is ("ANSIM_SOLAPI_API_KEY" in environ)


def test_without_a_carrier_no_call_is_pretended():
    nobody = adapters.NoCarrier()
    with pytest.raises(NotificationError) as caught:
        nobody.place_call(CallRequest(to="+821012345678", reference="n", ring_s=20))
    assert (caught.value.permanent, caught.value.fault) == (True, Fault.ACCOUNT)
    assert nobody.reach("+821012345678") == frozenset[Reach]()
    assert nobody.find_call("+821012345678", now(), "n") == Found()
    with pytest.raises(PermissionError):
        nobody.events("https://ansim.example/v1/telephony/twilio/incoming", {}, {})


def test_mail_is_built_only_where_a_server_is_set():
    assert adapters.build_mailer(Settings.from_env({}), now) is None
    assert isinstance(adapters.build_mailer(Settings.from_env(MAIL), now), SmtpMailer)


def test_a_site_gets_its_push_key_from_init_and_keeps_it(tmp_path: Path):
    settings = Settings.from_env({"ANSIM_DATA_DIR": str(tmp_path), "ANSIM_PUBLIC_URL": "https://ansim.example"})
    assert adapters.build_pusher(settings, now) is None
    assert adapters.make_vapid_key(settings)
    assert not adapters.make_vapid_key(settings)
    path = settings.vapid_private_key_file
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["vapid.pem"]
    first, second = (adapters.build_pusher(settings, now) for _ in range(2))
    assert isinstance(first, WebPusher)
    assert isinstance(second, WebPusher)
    assert first.public_key == second.public_key


def test_the_demonstration_makes_its_push_key_on_the_spot(tmp_path: Path):
    settings = Settings.from_env({"ANSIM_DATA_DIR": str(tmp_path), "ANSIM_DEMO": "yes"})
    assert adapters.build_pusher(settings, now) is not None


def test_a_push_key_that_is_none_stops_the_start_with_a_sentence(tmp_path: Path):
    path = tmp_path / "vapid.pem"
    path.write_text("not a key")
    settings = Settings.from_env({"ANSIM_VAPID_PRIVATE_KEY_FILE": str(path)})
    with pytest.raises(ConfigError, match="ANSIM_VAPID_PRIVATE_KEY_FILE must be a P-256 private key"):
        adapters.build_pusher(settings, now)
