import base64
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from service.config import (
    BY_NAME,
    SETTINGS,
    ConfigError,
    Settings,
    settings_markdown,
    shown_settings,
    unknown_names,
)

KEK = base64.b64encode(b"k" * 32).decode()
READY = {
    "ANSIM_KEK": KEK,
    "ANSIM_TWILIO_ACCOUNT_SID": "AC1",
    "ANSIM_TWILIO_AUTH_TOKEN": "very secret token",
    "ANSIM_TWILIO_FROM": "+82212345678",
    "ANSIM_FALLBACK_NUMBER": "+82212345679",
    "ANSIM_PUBLIC_URL": "https://ansim.example",
}


def test_an_empty_environment_gives_the_defaults_of_the_table(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_env({})
    assert settings.data_dir == tmp_path / "data"
    assert settings.database_url == f"sqlite:///{tmp_path}/data/ansim.db"
    assert settings.keys_url == f"sqlite:///{tmp_path}/data/keys/keys.db"
    assert settings.public_url == "http://127.0.0.1:8080"
    assert (settings.send_timeout_s, settings.send_lease_s) == (3.0, 5.0)
    assert settings.demo is False
    assert settings.text_cost is None


def test_defaults_follow_the_settings_that_they_mention() -> None:
    settings = Settings.from_env({"ANSIM_PORT": "9001", "ANSIM_DATA_DIR": "/srv/{odd}"})
    assert settings.public_url == "http://127.0.0.1:9001"
    assert settings.database_url == "sqlite:////srv/{odd}/ansim.db"


def test_an_empty_value_counts_as_unset() -> None:
    assert Settings.from_env({"ANSIM_PORT": " ", "ANSIM_KEK": ""}).port == 8080


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgresql://a:b@db/ansim", "postgresql+psycopg://a:b@db/ansim"),
        ("postgres://a:b@db/ansim", "postgresql+psycopg://a:b@db/ansim"),
        ("postgresql+psycopg://a:b@db/ansim", "postgresql+psycopg://a:b@db/ansim"),
        ("sqlite:////srv/a.db", "sqlite:////srv/a.db"),
    ],
)
def test_plain_postgresql_addresses_get_our_driver(given: str, used: str) -> None:
    assert Settings.from_env({"ANSIM_DATABASE_URL": given}).database_url == used


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ANSIM_PORT", "http"),
        ("ANSIM_PORT", "0"),
        ("ANSIM_PORT", "65536"),
        ("ANSIM_WORKERS", "1.5"),
        ("ANSIM_DEMO", "perhaps"),
        ("ANSIM_TICK_S", "nan"),
        ("ANSIM_TICK_S", "-1"),
        ("ANSIM_PUBLIC_URL", "ansim.example"),
        ("ANSIM_PUBLIC_URL", "https://ansim.example/?a=b"),
        ("ANSIM_PUBLIC_URL", "http://ansim.example:port"),
        ("ANSIM_DATABASE_URL", "mysql://a:b@c/d"),
        ("ANSIM_DATABASE_URL", "sqlite:///"),
        ("ANSIM_FALLBACK_NUMBER", "02-123-4567"),
        ("ANSIM_FALLBACK_NUMBER", "+0212345678"),
        ("ANSIM_TIME_ZONE", "Asia/Atlantis"),
        ("ANSIM_TIME_ZONE", "../../etc/passwd"),
        ("ANSIM_LOG_LEVEL", "loud"),
        ("ANSIM_CARRIER", "pigeon"),
        ("ANSIM_TEXT_COST", "cheap"),
        ("ANSIM_TEXT_COST", "-1"),
        ("ANSIM_TEXT_COST", "inf"),
        ("ANSIM_COST_CURRENCY", "won"),
        ("ANSIM_KEK", "not base64!"),
        ("ANSIM_KEK", base64.b64encode(b"k" * 31).decode()),
        ("ANSIM_HOST", "a\nb"),
        ("ANSIM_KEK_FILE", "/nowhere/kek"),
    ],
)
def test_a_bad_value_stops_the_start_with_a_sentence(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.from_env({name: value})
    sentence = str(caught.value)
    assert sentence.startswith(name)
    assert " must " in sentence
    assert " was " in sentence
    assert ": " in sentence
    assert "\n" not in sentence
    shown = name not in {"ANSIM_KEK", "ANSIM_DATABASE_URL"}
    assert (repr(value) in sentence) is shown


def test_a_lease_must_outlast_the_send_and_end_before_the_shortest_step() -> None:
    with pytest.raises(ConfigError, match=r"ANSIM_SEND_LEASE_S must be longer than ANSIM_SEND_TIMEOUT_S"):
        Settings.from_env({"ANSIM_SEND_TIMEOUT_S": "5"})
    with pytest.raises(ConfigError, match=r"ANSIM_SEND_LEASE_S must be under 10"):
        Settings.from_env({"ANSIM_SEND_LEASE_S": "10"})


def test_keys_and_data_may_not_share_a_database() -> None:
    same = "postgresql://a:b@db/ansim"
    with pytest.raises(ConfigError, match="ANSIM_KEYS_URL must be another database"):
        Settings.from_env({"ANSIM_DATABASE_URL": same, "ANSIM_KEYS_URL": same})


def test_outside_the_demo_every_missing_thing_is_named_at_once() -> None:
    problems = Settings.from_env({}).check_ready_to_serve()
    for name in READY:
        assert sum(problem.startswith(name) for problem in problems) == 1
    assert all(problem.endswith(".") for problem in problems)


def test_a_complete_site_and_the_demo_are_ready_to_serve() -> None:
    assert Settings.from_env(READY).check_ready_to_serve() == []
    assert Settings.from_env({"ANSIM_DEMO": "yes"}).check_ready_to_serve() == []


def test_a_public_address_in_the_clear_is_refused_unless_all_is_on_this_machine() -> None:
    clear = Settings.from_env(READY | {"ANSIM_PUBLIC_URL": "http://ansim.example"})
    assert "in the clear" in clear.check_ready_to_serve()[0]
    local = Settings.from_env(READY | {"ANSIM_PUBLIC_URL": "http://127.0.0.1:8080"})
    assert "cannot reach" in local.check_ready_to_serve()[0]
    assert replace(local, twilio_api_url="http://127.0.0.1:8090").check_ready_to_serve() == []


def test_secrets_are_read_from_files_too_and_not_from_both(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("from a file\n")
    environ = {"ANSIM_TWILIO_AUTH_TOKEN_FILE": str(path)}
    assert Settings.from_env(environ).twilio_auth_token == "from a file"
    with pytest.raises(ConfigError, match="both set"):
        Settings.from_env(environ | {"ANSIM_TWILIO_AUTH_TOKEN": "another"})


def test_the_key_encryption_key_comes_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "kek"
    path.write_text(KEK + "\n")
    assert Settings.from_env({"ANSIM_KEK_FILE": str(path)}).kek == b"k" * 32


def test_no_secret_shows_in_repr_or_in_the_doctor() -> None:
    settings = Settings.from_env(READY | {"ANSIM_DATABASE_URL": "postgresql://a:hush@db/ansim"})
    shown = repr(settings) + repr([text for _, text in shown_settings(settings)])
    for secret in ("very secret token", KEK, "kkkk", "hush"):
        assert secret not in shown


def test_mistyped_names_are_found() -> None:
    environ = {"ANSIM_PROT": "1", "ANSIM_PORT": "1", "ANSIM_KEK_FILE": "k", "PATH": "/bin"}
    assert unknown_names(environ) == ["ANSIM_PROT"]


def test_every_setting_is_in_the_table_with_a_default_that_is_accepted() -> None:
    assert len(BY_NAME) == len(SETTINGS)
    assert {setting.field for setting in SETTINGS} == set(Settings.__dataclass_fields__)
    table = settings_markdown()
    for setting in SETTINGS:
        assert f"`{setting.name}`" in table
        assert setting.help_en.endswith(".")


def test_prices_are_exact() -> None:
    assert Settings.from_env({"ANSIM_TEXT_COST": "8.4"}).text_cost == Decimal("8.4")
