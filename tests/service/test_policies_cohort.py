"""``ansim cohort``: the figures of a policy, its dry run, and what it says to a file that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dispatch.policies import DEFAULT
from service import cli
from service.tools import cohort

HELP = Path(cohort.__file__).parents[1] / "help"
SMALL = ("--households", "500", "--years", "2", "--seed", "3")


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIM_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture
def ansim(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: str) -> tuple[int, str, str]:
        code = cli.main(["cohort", *words])
        heard = capsys.readouterr()
        return code, heard.out, heard.err

    return run


def written(folder: Path, text: str, name: str = "mine.toml") -> str:
    path = folder / name
    path.write_text(text, "utf-8")
    return str(path)


def test_the_help_page_holds_the_document_that_ships() -> None:
    assert DEFAULT in (HELP / "policies.md").read_text("utf-8")


def test_json_stands_alone_and_says_what_is_met(ansim: Any) -> None:
    code, out, err = ansim("--json", *SMALL)
    found = json.loads(out)
    assert (code, err) == (0 if all(found["goals"].values()) else 1, "")
    assert found["size"] == {"homes": 500, "years": 2.0, "seed": 3}
    assert set(found["goals"]) == {"false_dispatch_cut", "false_dispatch_cut_all", "added_s", "sos_added_s"}
    assert set(found["rows"][0]) == {"measure", "kind", "policy", "value", "ci_low", "ci_high", "n"}
    assert {row["policy"] for row in found["rows"]} == {"ask_first", "without_asking", "goalert_like", "oncall_like"}


def test_a_goal_that_is_missed_is_exit_code_one_and_said(ansim: Any) -> None:
    code, out, _ = ansim(*SMALL, "--set", "person.well_answers=0.3", "--set", "person.band_answers=0")
    assert code == 1
    assert "| false_dispatch_cut | NO |" in out and "| sos_added_s | yes |" in out


def test_a_policy_is_compared_with_another_on_the_same_events(ansim: Any, tmp_path: Path) -> None:
    mine = written(tmp_path, 'title = "slower"\r\n[ask]\r\noverlap_s = 50\r\n')
    theirs = written(tmp_path, DEFAULT, "theirs.toml")
    report = tmp_path / "report"
    code, out, _ = ansim("--policy", mine, "--against", theirs, "--report", str(report), *SMALL)
    assert code == 1, "thirty seconds more than the goal allows"
    assert out.startswith("# slower\n") and "seconds added, at the median event, against | high" in out
    assert (report / "cohort.md").read_text("utf-8") == out
    kept = json.loads((report / "cohort.json").read_text("utf-8"))
    added = [r["value"] for r in kept["rows"] if (r["measure"], r["kind"]) == ("added_each_s_against", "high")]
    assert added == [pytest.approx(30.0, abs=0.1)]


def test_the_dry_run_prints_who_would_be_rung_when_in_both_languages(ansim: Any) -> None:
    code, out, _ = ansim("--dry-run", "-", "--case", "high")
    assert code == 0 and out.startswith("high:\n") and "  0:20  Rang contact 1" in out
    code, out, _ = ansim("--dry-run", "-", "--language", "ko")
    assert code == 0 and "연락처 1에게 전화했습니다" in out
    assert [line for line in out.splitlines() if not line.startswith(" ")] == [
        "sos:", "grave:", "high:", "medium:", "silent:",
    ]  # fmt: skip
    code, out, _ = ansim("--dry-run", "-", "--json")
    assert code == 0 and json.loads(out)["sos"][0]["at_s"] == 0.0


@pytest.mark.parametrize("flag", ["--policy", "--against", "--dry-run"])
def test_a_bad_document_is_a_usage_error_that_names_its_line(ansim: Any, tmp_path: Path, flag: str) -> None:
    path = written(tmp_path, 'title = "x"\n[ask]\nbudget = 75\n')
    code, out, err = ansim(flag, path)
    assert (code, out) == (2, "")
    assert f"{path}:3: ask.budget is not known here" in err and "did you mean ask.budget_s?" in err


@pytest.mark.parametrize("flag", ["--policy", "--parameters", "--dry-run"])
def test_a_file_that_cannot_be_read_is_the_environments_fault(ansim: Any, tmp_path: Path, flag: str) -> None:
    code, out, err = ansim(flag, str(tmp_path / "none.toml"))
    assert (code, out) == (3, "") and "none.toml" in err
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    assert ansim(flag, str(tmp_path / "bytes.toml"))[0] == 3


@pytest.mark.parametrize(
    "words",
    [
        ("--set", "person.answers=1"),
        ("--set", "person.well_answers=2"),
        ("--set", "person.well_answers"),
        ("--set", "person.well_answers=often"),
    ],
)
def test_a_parameter_that_cannot_be_is_a_usage_error(ansim: Any, words: tuple[str, ...]) -> None:
    code, out, err = ansim(*words, *SMALL)
    assert (code, out) == (2, "") and "person." in err


@pytest.mark.parametrize("words", [("--households", "3"), ("--years", "0"), ("--case", "moon"), ("--seed", "-1")])
def test_an_argument_that_cannot_be_is_a_usage_error(words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["cohort", *words])
    assert ended.value.code == 2


def test_a_report_that_cannot_be_written_is_the_environments_fault(ansim: Any, tmp_path: Path) -> None:
    written(tmp_path, "", "taken")
    assert ansim("--report", str(tmp_path / "taken"), "--households", "10", "--years", "0.1")[0] == 3
