import base64
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from service.config import BY_NAME, SETTINGS, Settings

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
SECRET_NAMES = {f"{setting.name}_FILE" for setting in SETTINGS if setting.secret}


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (DOCKER / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def ours(compose: dict) -> dict:
    return {name: part for name, part in compose["services"].items() if part["image"].startswith("ansim:")}


def test_every_container_is_read_only_without_capabilities_or_new_privileges(compose: dict) -> None:
    assert set(compose["services"]) == {"init", "service", "jobs", "watchdog", "postgres", "proxy"}
    for name, part in compose["services"].items():
        assert part["read_only"] is True, name
        assert part["cap_drop"] == ["ALL"], name
        assert part["security_opt"] == ["no-new-privileges:true"], name
        assert part.get("privileged") is None, name
        assert set(part.get("cap_add", [])) <= {"NET_BIND_SERVICE"}, name


def test_only_the_proxy_is_reachable_from_outside(compose: dict) -> None:
    assert [name for name, part in compose["services"].items() if "ports" in part] == ["proxy"]
    assert compose["networks"]["inside"]["internal"] is True
    assert compose["services"]["postgres"]["networks"] == ["inside"]
    assert compose["services"]["proxy"]["networks"] == ["outside"]


def test_the_image_runs_as_nobody_in_particular_and_checks_that_it_can_do_its_work(dockerfile: str) -> None:
    last_stage = dockerfile.split("\nFROM ")[-1]
    user = re.findall(r"^USER (.+)$", last_stage, re.MULTILINE)[-1]
    assert int(user) > 1000
    assert "HEALTHCHECK" in last_stage
    assert "/readyz" in last_stage
    assert "VOLUME /data" in last_stage
    assert "curl" not in dockerfile


def test_the_health_check_is_python_that_compiles(dockerfile: str) -> None:
    command = re.search(r"HEALTHCHECK .*\\\n\s+CMD (\[.*\])", dockerfile)
    assert command
    program, flag, code = yaml.safe_load(command[1])
    assert (program, flag) == ("python", "-c")
    compile(code, "healthcheck", "exec")


def test_everything_that_is_copied_into_the_image_exists(dockerfile: str) -> None:
    for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE):
        *sources, _ = line.split()
        for source in sources:
            assert (ROOT / source).exists(), source
            assert f"!{source}" in (ROOT / ".dockerignore").read_text(), source


def test_containers_start_in_an_order_that_works(compose: dict, ours: dict) -> None:
    for name in ("service", "jobs"):
        waits = ours[name]["depends_on"]
        assert waits["postgres"]["condition"] == "service_healthy"
        assert waits["init"]["condition"] == "service_completed_successfully"
    assert ours["init"]["restart"] == "no"
    assert compose["services"]["proxy"]["depends_on"]["service"]["condition"] == "service_healthy"
    assert "healthcheck" in compose["services"]["postgres"]


def test_secrets_are_files_and_settings_are_ones_that_exist(compose: dict, ours: dict) -> None:
    for part in ours.values():
        for name, value in part["environment"].items():
            assert name in BY_NAME or name in SECRET_NAMES
            if name in SECRET_NAMES:
                secret = value.removeprefix("/run/secrets/")
                assert secret in part["secrets"]
                assert secret in compose["secrets"]
    for line in (DOCKER / ".env.example").read_text().splitlines():
        name, _, value = line.partition("=")
        if name.startswith("ANSIM_"):
            assert name in BY_NAME
            assert not BY_NAME[name].secret or not value


def test_the_commands_are_ones_that_the_program_has(ours: dict, dockerfile: str) -> None:
    pytest.importorskip("service.cli")
    shown = subprocess.run(
        [sys.executable, "-c", "import sys; from service.cli import main; sys.exit(main())", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    commands = {part["command"][0] for part in ours.values()} | {"serve"}
    assert 'ENTRYPOINT ["ansim"]' in dockerfile
    for command in commands:
        assert re.search(rf"\b{command}\b", shown), command


def test_the_proxy_bounds_bodies_and_time_and_lets_events_flow() -> None:
    caddyfile = (DOCKER / "Caddyfile").read_text()
    bounds = ("read_header 10s", "read_body 10s", "max_size 1MiB", "request_buffers 1MiB")
    for part in (*bounds, "flush_interval -1"):
        assert part in caddyfile
    assert caddyfile.count("{") == caddyfile.count("}")
    assert "service:8080" in caddyfile


def test_secrets_made_by_the_script_are_accepted_and_never_overwritten(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl not present")
    script = shutil.copy(DOCKER / "secrets.sh", tmp_path)
    secrets = tmp_path / "secrets"
    subprocess.run(["sh", script], check=True, capture_output=True, timeout=60)
    first = {path.name: path.read_bytes() for path in secrets.iterdir()}
    subprocess.run(["sh", script], check=True, capture_output=True, timeout=60)
    assert {path.name: path.read_bytes() for path in secrets.iterdir()} == first
    assert secrets.stat().st_mode & 0o077 == 0
    settings = Settings.from_env(
        {
            "ANSIM_KEK_FILE": str(secrets / "kek"),
            "ANSIM_DATABASE_URL_FILE": str(secrets / "database_url"),
            "ANSIM_KEYS_URL_FILE": str(secrets / "keys_url"),
            "ANSIM_TWILIO_AUTH_TOKEN_FILE": str(secrets / "twilio_auth_token"),
        }
    )
    assert settings.kek == base64.b64decode(first["kek"])
    assert settings.database_url.startswith("postgresql+psycopg://ansim:")
    assert settings.keys_url.endswith("@postgres/ansim_keys")


def test_the_containers_carry_the_version_of_the_program(compose: dict) -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert compose["services"]["service"]["image"] == f"ansim:{version[1]}"
