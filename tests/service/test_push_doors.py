"""The door by which a browser asks to be told: what it may name, and who hears of what."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doors_stage import Stage, assert_problem, make_stage, settings_of

from service.config import ConfigError
from service.workflows import browsers

ENDPOINT = "https://push.example/x"
# Of the example in RFC 8291, section 5.
P256DH = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = make_stage(tmp_path_factory.mktemp("push"))
    made.person("caregiver", login="haneul", patient_id=made.patient(), name="김하늘")
    yield made
    made.house.database.dispose()


@pytest.fixture(scope="module")
def asked(stage: Stage) -> Any:
    client, csrf = stage.logged_in("haneul")

    def post(endpoint: str = ENDPOINT, p256dh: str = P256DH, auth: str = AUTH, method: str = "POST") -> Any:
        body = {"endpoint": endpoint, "expirationTime": None, "keys": {"p256dh": p256dh, "auth": auth}}
        return client.open("/v1/me/push", method=method, json=body, headers={"X-CSRF-Token": csrf})

    return post


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("endpoint", "http://push.example/x", "must be an https:// address"),
        ("endpoint", "https://127.0.0.1/x", "no bare address"),
        ("endpoint", "http://127.0.0.1:8080/v1/readings", "must be an https:// address"),
        ("endpoint", "https://127.0.0.1:8443/x", "no bare address"),
        ("endpoint", "https://[::1]/x", "must be an https:// address"),
        ("endpoint", "https://169.254.169.254/latest", "no bare address"),
        ("endpoint", "https://2130706433/", "no bare address"),
        ("endpoint", "https://127.1/", "no bare address"),
        ("endpoint", "https://0x7f.1/", "no bare address"),
        ("endpoint", "https://localhost/x", "was 'localhost'"),
        ("endpoint", "https://printer/x", "was 'printer'"),
        ("endpoint", "https://db.internal/x", "was 'db.internal'"),
        ("endpoint", "https://a.localhost/x", "was 'a.localhost'"),
        ("endpoint", "https://push.example./x", "was 'push.example.'"),
        ("endpoint", "https://push.example:0/x", "port of 1 to 65535, was 0"),
        ("endpoint", "https://push.example\\@127.0.0.1/", "must be an https:// address"),
        ("endpoint", "https://somebody@push.example/", "must be an https:// address"),
        ("endpoint", "https://push.example/a b", "must be an https:// address"),
        ("endpoint", "https://push.example/" + "x" * 1000, "at most 1000 characters"),
        ("endpoint", "", "must be an https:// address"),
        ("keys.p256dh", "p", "must be base64url"),
        ("keys.p256dh", "", "must be base64url"),
        ("keys.p256dh", AUTH, "65 bytes"),
        ("keys.p256dh", "Bg" + P256DH[2:], "beginning with 0x04, was 65 bytes beginning with 0x06"),
        ("keys.p256dh", "BAAA" + P256DH[4:], "on the curve P-256"),
        ("keys.p256dh", "BP" + "_" * 85, "on the curve P-256"),
        ("keys.auth", "a a", "must be base64url"),
        ("keys.auth", "AAAA", "must be 16 bytes, was 3"),
    ],
)
def test_a_browser_that_names_an_address_or_a_key_that_cannot_be_is_told_what_is_wrong(
    stage: Stage, asked: Any, field: str, value: str, said: str
) -> None:
    answer = asked(**{field.removeprefix("keys."): value})
    told = assert_problem(answer, 422, "endpoint_invalid" if field == "endpoint" else "keys_invalid")
    assert told["field"] == field
    assert said in told["detail"]
    assert told["detail"].startswith(f"{field} must ")
    assert "was " in told["detail"]
    assert "subscribe again" in told["detail"]
    assert stage.rows("SELECT count(*) FROM push_subscription")[0][0] == 0


@pytest.mark.parametrize("endpoint", [ENDPOINT, "https://fcm.googleapis.com:443/fcm/send/a:b-_", "https://xn--hs0b.kr/?x"])
def test_a_push_service_of_the_public_network_is_taken(asked: Any, endpoint: str) -> None:
    assert asked(endpoint).status_code == 204
    assert asked(endpoint, method="DELETE").status_code == 204


def test_a_push_service_on_this_machine_is_taken_only_where_the_demonstrations_settings_say_so(tmp_path: Path) -> None:
    made = make_stage(tmp_path, ANSIM_PUSH_LOOPBACK="yes")
    person_id = made.person("caregiver", patient_id=made.patient())
    keys = browsers.BrowserKeys(p256dh=P256DH, auth=AUTH)
    browsers.add(made.house, person_id, browsers.Browser(endpoint="http://127.0.0.1:9000/push/1", keys=keys))
    assert len(browsers.of(made.house, person_id)) == 1
    with pytest.raises(ValueError, match="no bare address"):
        browsers.add(made.house, person_id, browsers.Browser(endpoint="https://127.0.0.2/push/1", keys=keys))
    made.house.database.dispose()
    with pytest.raises(ConfigError, match="ANSIM_PUSH_LOOPBACK must not be yes without ANSIM_DEMO=yes"):
        settings_of(tmp_path, ANSIM_DEMO="no", ANSIM_PUSH_LOOPBACK="yes")
