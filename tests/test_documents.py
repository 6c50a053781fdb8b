import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.config import SETTINGS, settings_markdown

ROOT = Path(__file__).parents[1]
HELP = ROOT / "service" / "help"
PAGES = sorted(HELP.glob("*.md"))
KINDS = ("wearable-maker", "older-person", "caregiver", "dispatcher", "operator")
REFERENCE = ("architecture", "decisions", "runbook", "settings", "api", "detection", "dispatch", "evaluation")


def all_pages() -> str:
    return "\n".join(page.read_text("utf-8") for page in PAGES)


def links_of(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8"))


def test_the_settings_page_holds_the_table_that_the_program_reads() -> None:
    page = (HELP / "settings.md").read_text("utf-8")
    assert settings_markdown() in page, (
        "service/help/settings.md must end with settings_markdown(): paste what "
        "`python -c 'from service.config import settings_markdown as table; print(table())'` prints"
    )
    for setting in SETTINGS:
        assert f"`{setting.name}`" in page


def test_no_page_mentions_a_setting_that_does_not_exist() -> None:
    known = {setting.name for setting in SETTINGS} | {f"{s.name}_FILE" for s in SETTINGS if s.secret}
    for page in [*PAGES, ROOT / "README.md", *(ROOT / "docker").glob("*")]:
        if page.is_file():
            mentioned = set(re.findall(r"\bANSIM_[A-Z_]*[A-Z]\b", page.read_text("utf-8")))
            assert mentioned - {"ANSIM_READY"} <= known, page.name


def test_there_is_a_page_for_every_kind_of_user_and_korean_where_it_is_needed() -> None:
    names = {page.name for page in PAGES}
    assert {f"{name}.md" for name in (*KINDS, *REFERENCE)} <= names
    assert {"older-person.ko.md", "caregiver.ko.md"} <= names
    readme = (ROOT / "README.md").read_text("utf-8")
    for name in KINDS:
        assert f"service/help/{name}.md" in readme


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_page_has_one_title_and_stays_short(page: Path) -> None:
    lines = page.read_text("utf-8").splitlines()
    outside = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    assert lines[0].startswith("# ")
    assert len(re.findall(r"^# ", outside, re.MULTILINE)) == 1
    assert len(lines) <= 120


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "README.md", ROOT / "CHANGELOG.md"], ids=lambda page: page.name
)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for link in links_of(page):
        # The picture is taken by the browser tests; a checkout without one is still complete.
        if not link.startswith(("http://", "https://")) and "images/" not in link:
            assert (page.parent / link).exists(), link


def test_korean_pages_have_the_sections_of_their_english_ones() -> None:
    for korean in HELP.glob("*.ko.md"):
        english = HELP / korean.name.replace(".ko.md", ".md")
        headings = [
            len(re.findall(r"^## ", page.read_text("utf-8"), re.MULTILINE)) for page in (korean, english)
        ]
        assert headings[0] == headings[1], korean.name


def routes() -> set[str]:
    """Every route that a blueprint of service.api declares, with its parameters by name."""
    found = set()
    for module in (ROOT / "service" / "api").glob("*.py"):
        for method, path in re.findall(
            r"@\w+\.(get|post|put|delete)\(\s*\"([^\"]+)\"", module.read_text("utf-8")
        ):
            named = re.sub(r"<(?:[^<>:]+:)?([^<>]+)>", r"{\1}", path)
            found.add(f"{method.upper()} {named}")
    return found


def test_every_route_is_documented() -> None:
    pages = all_pages()
    assert "POST /v1/readings" in routes()
    assert [route for route in sorted(routes()) if f"`{route}`" not in pages] == []


def test_no_documented_route_is_missing() -> None:
    page = (HELP / "api.md").read_text("utf-8")
    documented = set(re.findall(r"^\| `((?:GET|POST) /[^`]+)`", page, re.MULTILINE))
    assert documented - routes() == set()


def commands() -> list[str]:
    """What `ansim --help` lists: its `{demo,serve,...}` choices."""
    pytest.importorskip("service.cli", reason="the commands are not written yet")
    shown = subprocess.run(
        [sys.executable, "-c", "import sys; from service.cli import main; sys.exit(main())", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200", "PYTHONPATH": str(ROOT)},
    ).stdout
    listed = re.search(r"\{([a-z,-]+)\}", shown)
    assert listed, shown
    return listed[1].split(",")


def test_every_command_is_documented() -> None:
    pages = all_pages()
    assert [command for command in commands() if f"`ansim {command}" not in pages] == []


def test_no_documented_command_is_missing() -> None:
    mentioned = set(re.findall(r"`ansim ([a-z-]+)", all_pages() + (ROOT / "README.md").read_text("utf-8")))
    assert mentioned <= set(commands())


def test_every_make_target_in_the_documents_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE))
    assert {"help", "run", "test", "bench", "soak", "lint", "lock", "clean"} <= targets
    text = all_pages() + (ROOT / "README.md").read_text("utf-8")
    assert set(re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE)) <= targets


def test_the_lock_pins_everything_and_names_no_host() -> None:
    lines = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9._!+-]+", pin) for pin in pins)
    pinned = {re.sub(r"[-_.]+", "-", pin.split("==")[0]).lower() for pin in pins}
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    wanted = re.findall(r'^    "([A-Za-z0-9_-]+)(?:\[[a-z,]+\])?[><=]', project, re.MULTILINE)
    assert len(wanted) > 20
    assert {re.sub(r"[-_.]+", "-", name).lower() for name in wanted} - pinned == set()
