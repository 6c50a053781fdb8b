"""The words: both languages complete, every key that a page uses exists, times as people say them."""

from __future__ import annotations

import json
import re
import string
import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from dispatch.codes import Doubt
from dispatch.dry_run import CASES
from dispatch.eido import Part
from service.web import display, frame, help, pages, shield
from service.web.text import LANGUAGES, MissingText, Translator, preferred, words
from service.workflows.caregiving import NOTED
from service.workflows.policies import Scope
from service.workflows.removing import Why

WEB = Path(pages.__file__).parent
NOW = datetime(2026, 11, 22, 12, 4, 33, tzinfo=UTC)
SEOUL = ZoneInfo("Asia/Seoul")
ko, en = Translator("ko", strict=True), Translator("en", strict=True)
CALL = re.compile(r"""(?<![\w.])(?:(?:frame\.)?translator\(\)|t)\(\s*f?["']([a-z0-9_.]+)["'](\s*[,)])?""")
OTHER = re.compile(r"""t\.other\('..', '([a-z0-9_.]+)'""")
CLOSED_SETS = {
    "priority.": ("high", "medium", "low"),
    "role.": ("caregiver", "dispatcher", "operator", "patient"),
    "month.": tuple(str(n) for n in range(1, 13)),
    "refused.": frame.REFUSALS,
    "error.": ("denied", "missing", "broken", "denied.what", "missing.what", "broken.what", "method", "method.what"),
    "noted.": tuple(NOTED),
    "doubt.": tuple(Doubt),
    "incident.part.": tuple(Part),
    "numbers.why.": tuple(Why),
    "policies.scope.": tuple(Scope),
    "policies.case.": tuple(CASES),
    "policies.figure.": (
        "time_to_human_p50_s",
        "needless_rings_per_home_year",
        "false_dispatches_per_1000_home_days",
    ),
    "js.ago.": ("second", "seconds", "minute", "minutes", "hour", "hours", "day", "days", "now", "never"),
}


def sources() -> list[Path]:
    return [*WEB.glob("*.py"), *WEB.glob("templates/*.html"), *WEB.glob("static/*.js")]


def test_both_languages_have_the_same_keys() -> None:
    assert words("ko").keys() == words("en").keys()


def test_both_languages_take_the_same_parameters() -> None:
    def names(text: str) -> set[str | None]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    assert [k for k in words("ko") if names(words("ko")[k]) != names(words("en")[k])] == []


@pytest.mark.parametrize("path", sources(), ids=lambda p: p.name)
def test_every_key_that_a_page_uses_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    used = {key for key, _ in CALL.findall(text)} | set(OTHER.findall(text))
    whole = {key for key in used if not key.endswith(".")}
    assert whole - words("ko").keys() - {"key"} == set()
    assert {key for key in used if key.endswith(".")} <= CLOSED_SETS.keys()


@pytest.mark.parametrize("prefix", CLOSED_SETS)
def test_every_member_of_a_closed_set_has_its_word(prefix: str) -> None:
    assert [m for m in CLOSED_SETS[prefix] if prefix + m not in words("ko")] == []


def test_no_text_is_left_over() -> None:
    everything = "".join(path.read_text(encoding="utf-8") for path in sources())
    unused = [k for k in words("ko") if k not in everything and not k.startswith(tuple(CLOSED_SETS))]
    assert unused == []


def test_scripts_are_given_every_text_they_use_and_no_more() -> None:
    used: set[str] = set()
    for path in WEB.glob("static/*.js"):
        used |= set(re.findall(r'"(js\.[a-z_.]+)"', path.read_text(encoding="utf-8")))
    assert used <= ko.for_scripts().keys()
    assert all(key.startswith("js.") for key in ko.for_scripts())


def test_browser_listens_to_every_kind_of_event_that_is_emitted() -> None:
    heard = set(
        re.findall(r"EVENTS = \[([^]]*)\]", (WEB / "static" / "live.js").read_text(encoding="utf-8"))[0].split('"')[
            1::2
        ]
    )
    emitted: set[str] = set()
    for path in (WEB.parent / "workflows").glob("*.py"):
        emitted |= set(re.findall(r'\.emit\(\s*"([a-z_]+)"', path.read_text(encoding="utf-8")))
    assert emitted
    assert emitted | {"beat"} <= heard


def test_missing_key_raises_when_strict_and_shows_itself_in_service() -> None:
    with pytest.raises(MissingText, match=r"no\.such\.key"):
        ko("no.such.key")
    assert Translator("ko")("no.such.key") == "no.such.key"


def test_translations_are_plain_flat_json() -> None:
    for language in LANGUAGES:
        loaded = json.loads((WEB / "translations" / f"{language}.json").read_text(encoding="utf-8"))
        assert all(isinstance(v, str) and v.strip() and "<" not in v for v in loaded.values())


@pytest.mark.parametrize(
    ("accept", "chosen", "language"),
    [
        ("en-US,en;q=0.9", None, "en"),
        ("fr,ko;q=0.5", None, "ko"),
        ("fr", None, "ko"),
        (None, None, "ko"),
        ("en", "ko", "ko"),
        ("en", "xx", "en"),
    ],
)
def test_stranger_is_greeted_in_a_language_they_read(accept: str | None, chosen: str | None, language: str) -> None:
    assert preferred(accept, chosen) == language


@pytest.mark.parametrize(
    ("age_s", "korean", "english"),
    [
        (None, "소식 없음", "never"),
        (3, "방금", "just now"),
        (-40, "방금", "just now"),
        (24.9, "24초 전", "24 seconds ago"),
        (60, "1분 전", "1 minute ago"),
        (7_100, "1시간 전", "1 hour ago"),
        (200_000, "2일 전", "2 days ago"),
    ],
)
def test_age_is_said_as_people_say_it(age_s: float | None, korean: str, english: str) -> None:
    assert (display.ago(age_s, ko), display.ago(age_s, en)) == (korean, english)


@pytest.mark.parametrize(
    ("left_s", "korean", "english"),
    [
        (-5, "지금", "now"),
        (24.2, "24초 뒤", "in 24 s"),
        (170, "2분 50초 뒤", "in 2 min 50 s"),
        (1_200, "20분 뒤", "in 20 min"),
        (7_500, "2시간 5분 뒤", "in 2 h 5 min"),
    ],
)
def test_countdown_cannot_be_read_as_a_time_of_day(left_s: float, korean: str, english: str) -> None:
    assert (display.until(left_s, ko), display.until(left_s, en)) == (korean, english)


def test_times_are_those_of_the_place_and_24_hours() -> None:
    assert display.time_of_day(NOW, SEOUL) == "21:04:33"
    assert display.date_and_time(NOW, ko, SEOUL) == "11월 22일 21:04"
    assert display.date_and_time(NOW, en, SEOUL) == "22 Nov 21:04"
    assert display.date_and_time(NOW, en, ZoneInfo("Pacific/Auckland")) == "23 Nov 01:04"


def test_running_clock_counts_to_hours() -> None:
    assert [display.seconds_clock(s) for s in (0, 84, 3_725, -3)] == ["0:00", "1:24", "1:02:05", "0:00"]


def test_korean_numbers_are_written_as_they_are_read_aloud() -> None:
    written = [display.phone(n) for n in ("+821055500131", "+82215771000", "+82515550123", "+4420794600", "119")]
    assert written == ["010-5550-0131", "02-1577-1000", "051-555-0123", "+4420794600", "119"]


def test_typed_time_is_the_latest_that_has_passed() -> None:
    assert display.typed_time("21:03", NOW, SEOUL) == datetime(2026, 11, 22, 12, 3, tzinfo=UTC)
    just_after_midnight = datetime(2026, 11, 22, 15, 1, tzinfo=UTC)
    assert display.typed_time("23:58:10", just_after_midnight, SEOUL) == datetime(2026, 11, 22, 14, 58, 10, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "soon", "25:00", "12:61", "12", "12:00:99", "１２:00x"])
def test_unreadable_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        display.typed_time(text, NOW, SEOUL)


def test_only_our_own_paths_are_returned_to() -> None:
    assert shield.local_path("/patients/1?x=1") == "/patients/1?x=1"
    assert [shield.local_path(p) for p in (None, "", "//a.b", "https://a.b", "/\\a.b", "a", "/a\r\nb")] == [None] * 7


def test_empty_token_never_matches() -> None:
    assert not shield.token_matches("", "")
    assert not shield.token_matches("", None)
    assert shield.token_matches("abc", "abc")


def test_help_page_is_found_in_the_readers_language_and_its_html_is_inert(tmp_path: Path) -> None:
    (tmp_path / "desk.ko.md").write_text(
        "# 관제\n\n<script>x</script> [a](javascript:alert(1))\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
        encoding="utf-8",
    )
    (tmp_path / "desk.md").write_text("# Desk\n", encoding="utf-8")
    korean, english = help.find("desk", "ko", tmp_path), help.find("desk", "en", tmp_path)
    assert korean and english and (korean.name, english.name) == ("desk.ko.md", "desk.md")
    assert help.find("desk.md", "ko", tmp_path) == korean
    title, body = help.render(korean)
    assert title == "관제"
    assert "<script" not in body and 'href="javascript' not in body and "<table>" in body


@pytest.mark.parametrize("name", ["../secrets", "a/b", "A", "", ".hidden", "x" * 60])
def test_help_page_outside_the_folder_does_not_exist(name: str, tmp_path: Path) -> None:
    assert help.find(name, "ko", tmp_path) is None


def test_every_icon_that_a_page_uses_is_drawn() -> None:
    tree = ElementTree.parse(WEB / "templates" / "_icons.svg")
    drawn = {(symbol.get("id") or "").removeprefix("i-") for symbol in tree.getroot()}
    used: set[str] = set()
    for path in WEB.glob("templates/*.html"):
        used |= set(re.findall(r"icon\('([a-z-]+[a-z])'", path.read_text(encoding="utf-8")))
    used |= {f"p-{p}" for p in CLOSED_SETS["priority."]} | {f"w-{w}" for w in ("well", "check", "help", "unknown")}
    assert used <= drawn


def _tokens() -> list[dict[str, str]]:
    css = (WEB / "static" / "ansim.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\n\s*\}", css, re.DOTALL)[:2]
    day = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", light))
    return [day, {**day, **dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", dark))}]


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """WCAG 2.2 contrast ratio; black on white is 21."""
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


TEXT_ON = [
    ("ink", ("ground", "surface", "sunken", "high-soft", "medium-soft", "well-soft", "low-soft", "brand-soft")),
    ("quiet", ("ground", "surface", "sunken", "high-soft", "medium-soft", "well-soft")),
    ("brand", ("ground", "surface", "sunken")),
    ("high", ("surface", "ground", "high-soft")),
    ("medium", ("surface", "ground", "medium-soft")),
    ("low", ("surface", "low-soft", "sunken")),
    ("well", ("surface", "well-soft")),
    ("on-brand", ("brand",)),
    ("on-badge", ("high", "medium", "low", "well")),
]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_contrast_is_wcag_aa_in_both_themes(theme: int) -> None:
    colours = _tokens()[theme]
    poor = [
        (text, ground, round(contrast(colours[text], colours[ground]), 2))
        for text, grounds in TEXT_ON
        for ground in grounds
        if contrast(colours[text], colours[ground]) < 4.5
    ]
    edges = [n for n in ("line-strong", "focus") if contrast(colours[n], colours["surface"]) < 3]
    assert (poor, edges) == ([], [])
    assert round(contrast("#000000", "#ffffff"), 2) == 21
