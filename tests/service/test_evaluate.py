"""`ansim evaluate` and `ansim fit`: rows, goals, exits, the page, and who may put a model in force."""

from __future__ import annotations

import argparse
import importlib
import json
import lzma
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from devices import models
from devices.models import Model, ModelError
from service import app
from service import models as start
from service.cli import main
from service.config import ConfigError, Settings
from service.tools import evaluate, fit
from service.tools.evaluation import process, report
from service.tools.evaluation.common import Curve, Outcome, Row

ROOT = Path(__file__).parents[2]
KEYS = {
    "set", "measure", "detector", "value", "ci_low", "ci_high", "n_positive", "n_subjects", "negative_hours", "mode",
    "goal", "met", "note",
}  # fmt: skip
GOOD = '''
from service.tools.evaluation.common import Curve, Outcome, Row
NAMES = ("good", "other")
MODELS = ("toy",)
def missing(data):
    return None if (data / "good.csv").is_file() else "good.csv"
def evaluate(data, mode, peers, say):
    print("a peer that chatters on standard output")
    say("half way")
    rows = [
        Row("good", "sensitivity", "ansim", 0.99, 0.97, 1.0, 80, 9, 24.0, mode, ">= 0.98"),
        Row("good", "delay_s", "ansim", float("nan"), goal="<= 45", mode=mode),
    ]
    if peers:
        rows.append(Row("good", "sensitivity", "river", None, mode=mode, note="not installed"))
    curve = Curve("good", "Operating curve", "false alarms", "found", [0.1, 1.0], [0.5, 0.9], mark=(1.0, 0.9))
    return Outcome(rows, [curve], ("a", "b"))
def fit(data, say):
    return {"toy": {"parameters": {"w": [1 / 3, 2]}, "card": {"purpose": "a toy", "subjects": ["a"]}}}
'''
BAD = """
NAMES = ("bad",)
MODELS = ()
def missing(data):
    return None
def evaluate(data, mode, peers, say):
    raise ValueError("a file of another kind")
"""


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of data, and a package of three modules: one that works, one that fails, one that cannot be read."""
    package = tmp_path / "toys" / "toy_evaluation"
    package.mkdir(parents=True)
    for name, text in (("__init__", ""), ("good", GOOD), ("bad", BAD), ("broken", "import no_such_library\n")):
        (package / f"{name}.py").write_text(text)
    (package / "shared_words.py").write_text("WORDS = 3\n")
    monkeypatch.syspath_prepend(str(package.parent))
    for name in [name for name in sys.modules if name.startswith("toy_evaluation")]:
        monkeypatch.delitem(sys.modules, name)
    toys = importlib.import_module("toy_evaluation")
    found = evaluate.modules
    monkeypatch.setattr(evaluate, "modules", lambda: found(toys))
    monkeypatch.setattr(fit, "modules", lambda: found(toys))
    data = tmp_path / "data"
    data.mkdir()
    (data / "good.csv").write_text("x\n")
    return data


def test_a_row_has_the_keys_of_the_contract_and_json_stands_alone(
    measured: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = main(["evaluate", "--data", str(measured), "--set", "good", "--mode", "nested", "--peers", "--json"])
    out, err = capfd.readouterr()
    rows = json.loads(out)
    assert code == 3, "a goal of a set that was asked for could not be measured"
    assert [set(row) for row in rows] == [KEYS] * 3
    assert rows[0] | {"value": 0.99, "met": True, "n_positive": 80, "mode": "nested", "note": None} == rows[0]
    assert rows[1]["value"] is None
    assert rows[1]["met"] is None
    assert rows[2]["note"] == "not installed"
    assert "half way" in err
    assert "chatters" in err


def test_one_failing_set_does_not_lose_the_rows_of_another(measured: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = main(["evaluate", "--data", str(measured), "--mode", "frozen", "--json", "--jobs", "1"])
    out, err = capfd.readouterr()
    rows = {(row["set"], row["measure"]): row for row in json.loads(out)}
    assert code == 3
    assert rows["good", "sensitivity"]["value"] == 0.99
    assert rows["bad", "evaluation"]["value"] is None
    assert "another kind" in rows["bad", "evaluation"]["note"]
    assert "no_such_library" in rows["broken", "evaluation"]["note"]
    assert "ValueError" in err


READS = """
import csv, lzma
import numpy as np
NAMES = ("reads",)
MODELS = ()
def missing(data):
    return None if list(data.glob("*.xz")) else "a.csv.xz"
def evaluate(data, mode, peers, say):
    for path in sorted(data.glob("*.xz")):
        with lzma.open(path, "rt", encoding="utf-8", newline="") as f:
            for row in csv.DictReader(f):
                float(row["bpm"])
    for path in sorted(data.glob("*.npz")):
        with np.load(path) as held:
            held["rr_ms"]
    raise AssertionError("nothing was wrong with the recordings")
"""


def spoilt(data: Path, how: str) -> str:
    """Put a recording that cannot be used into the folder; returns its name."""
    whole = lzma.compress(b"bpm\n" + b"".join(b"%d\n" % (k * 7919 % 251) for k in range(9000)))
    (data / "a.csv.xz").write_bytes(whole)
    name = "b.npz" if how.startswith("npz") else "b.csv.xz"
    contents = {
        "cut": whole[: len(whole) // 2], "empty": b"", "garbage": bytes(range(256)) * 9,
        "not utf-8": lzma.compress(b"bpm\n\xff\xfe\n"), "columns": lzma.compress(b"rate\n72\n"),
        "words": lzma.compress(b"bpm\nfast\n"), "npz cut": b"PK\x03\x04" + bytes(60),
    }  # fmt: skip
    if how == "npz keys":
        np.savez(data / name, rr=np.zeros(3))
    else:
        (data / name).write_bytes(contents[how])
    return name


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("cut", "cut off or damaged"), ("empty", "it is empty"), ("garbage", "cut off or damaged"),
        ("not utf-8", "cut off or damaged"), ("columns", "not what this set expects"),
        ("words", "not what this set expects"), ("npz cut", "cut off or damaged"),
        ("npz keys", "not what this set expects"),
    ],
)  # fmt: skip
def test_a_recording_that_cannot_be_used_is_named_in_one_sentence_with_a_remedy(
    measured: Path, capfd: pytest.CaptureFixture[str], how: str, said: str
) -> None:
    package = Path(importlib.import_module("toy_evaluation").__path__[0])
    (package / "reads.py").write_text(READS)
    name = spoilt(measured, how)
    code = main(["evaluate", "--data", str(measured), "--mode", "frozen", "--set", "reads", "good", "--json"])
    out, err = capfd.readouterr()
    rows = {(row["set"], row["measure"]): row for row in json.loads(out)}
    note = rows["reads", "evaluation"]["note"]
    assert code == 3
    assert rows["good", "sensitivity"]["value"] == 0.99
    assert "Traceback" not in err
    assert f"{name}" in note
    assert said in note
    assert "; " in note, "what to do"
    assert note.removeprefix("failed: ") in err


def test_a_mistake_of_ours_is_not_put_down_to_the_recordings(
    measured: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    package = Path(importlib.import_module("toy_evaluation").__path__[0])
    (package / "reads.py").write_text(READS)
    spoilt(measured, "cut")
    (measured / "b.csv.xz").unlink()
    assert main(["evaluate", "--data", str(measured), "--mode", "frozen", "--set", "reads"]) == 3
    assert "Traceback" in capfd.readouterr().err


def test_a_set_whose_recordings_cannot_even_be_looked_at_leaves_a_row(
    measured: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    package = Path(importlib.import_module("toy_evaluation").__path__[0])
    (package / "looks.py").write_text(
        "NAMES = ('looks',)\nMODELS = ()\n"
        "def missing(data):\n    return None if int((data / 'n.csv').read_text()) else 'n'\n"
        "def evaluate(*given):\n    pass\n"
    )
    (measured / "n.csv").write_text("many")
    assert main(["evaluate", "--data", str(measured), "--mode", "frozen", "--set", "looks", "good", "--json"]) == 3
    rows = {row["set"]: row for row in json.loads(capfd.readouterr().out)}
    assert "n.csv, the last recording read" in rows["looks"]["note"]
    assert "good" in rows


@pytest.mark.parametrize(("asked", "code", "word"), [(["--set", "good"], 3, "not measurable"), ([], 0, "skipped")])
def test_a_goal_without_a_figure_counts_where_its_set_was_asked_for(
    measured: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], asked: list[str], code: int,
    word: str,
) -> None:  # fmt: skip
    rows = [Row("good", "delay_s", "ansim", None, goal="<= 45", note="no episode"), Row("good", "m", "river", None)]
    done = process.Result("toy", ("good",), Outcome(rows))
    monkeypatch.setattr(evaluate, "measure", lambda tasks, jobs: [done])
    monkeypatch.setattr(evaluate, "modules", lambda: {"toy.good": importlib.import_module("toy_evaluation.good")})
    assert main(["evaluate", "--data", str(measured), "--mode", "nested", *asked]) == code
    out, err = capfd.readouterr()
    assert f"{word}: no episode" in out
    assert f"good delay_s: {word}: no episode" in err


def test_absent_data_nobody_asked_for_are_skipped_in_so_many_words(
    measured: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    package = Path(importlib.import_module("toy_evaluation").__path__[0])
    (package / "reads.py").write_text(READS)
    names = ("good", "reads")
    found = {f"toy_evaluation.{name}": importlib.import_module(f"toy_evaluation.{name}") for name in names}
    monkeypatch.setattr(evaluate, "modules", lambda: found)
    assert main(["evaluate", "--data", str(measured), "--mode", "nested"]) == 0
    assert "skipped: reads: data not present: a.csv.xz" in capfd.readouterr().err
    assert main(["evaluate", "--data", str(measured), "--mode", "nested", "--set", "good", "reads"]) == 3


@pytest.mark.parametrize(
    ("measure", "word"),
    [
        ("specificity at the shipped point, waves", "7 negative"), ("window specificity", "7 negative"),
        ("sensitivity at specificity 0.98", "7 true"), ("false alarms per patient-day", "7 false"),
    ],
)  # fmt: skip
def test_what_a_figure_rests_on_is_called_what_it_is(measure: str, word: str) -> None:
    assert report.basis({"measure": measure, "n_positive": 7, "n_subjects": None, "negative_hours": None}) == word


def test_an_unknown_set_is_a_usage_error_that_names_the_known(
    measured: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--data", str(measured), "--set", "goood", "--mode", "nested"]) == 2
    err = capfd.readouterr().err
    assert "bad, broken, good, other" in err
    assert "'goood'" in err


def test_data_that_are_not_there_are_named_in_a_sentence(measured: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (measured / "good.csv").unlink()
    assert main(["evaluate", "--data", str(measured), "--set", "other", "--mode", "nested"]) == 3
    assert "data not present: good.csv" in capfd.readouterr().err
    assert main(["evaluate", "--data", str(measured / "nowhere"), "--mode", "nested"]) == 3
    assert "--data must be a folder" in capfd.readouterr().err


def test_a_goal_that_is_missed_ends_with_one_and_a_table_says_so(
    measured: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    missed = Row("good", "false alarms", "ansim", 0.1, 0.02, 0.3, 0, 4, 2000.0, "nested", "<= 0.06 per day")
    done = process.Result("toy", ("good",), Outcome([missed]))
    monkeypatch.setattr(evaluate, "measure", lambda tasks, jobs: [done])
    assert main(["evaluate", "--data", str(measured), "--set", "good", "--mode", "nested"]) == 1
    out = capfd.readouterr().out
    assert "0.100 (0.020 to 0.300)" in out
    assert "goal <= 0.06 per day: not met" in out


def row(value: float | None, goal: str | None) -> Row:
    return Row("s", "m", "ansim", value, goal=goal)


@pytest.mark.parametrize(
    ("value", "goal", "expected"),
    [
        (0.98, ">= 0.98", True), (0.979, "≥ 0.98", False), (45, "<= 45 s", True), (0.5, "< 0.5", False),
        (0.6, ">= 60 %", True), (61.0, ">= 60 %", True), (1.0, "= 1", True), (None, ">= 1", None),
        (float("nan"), ">= 1", None), (0.4, None, None), (0.4, "as low as can be", None), (-2.0, ">= -3", True),
    ],
)  # fmt: skip
def test_a_goal_is_read_and_judged(value: float | None, goal: str | None, expected: bool | None) -> None:
    assert evaluate.met(row(value, goal)) is expected


def test_frozen_says_how_many_of_the_subjects_were_fitted_on(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("toy_evaluation.good")
    card = {"subjects": ["a", "z"], "sets": [{"file": "good.csv", "sha256": "0" * 64}]}
    monkeypatch.setattr(process, "load", lambda name: Model(name, {}, card))
    outcome = module.evaluate(measured, "frozen", False, print)
    assert process.seen(module, measured, outcome) == (1, 2)
    rows = evaluate.as_dicts([process.Result("toy", ("good",), outcome, seen=(1, 2))], "frozen")
    assert rows[0]["note"] == "seen: 1 of 2"
    outcome.subjects = ()
    assert process.seen(module, measured, outcome) is None
    card["sets"][0]["sha256"] = process.file_hash(measured / "good.csv")
    assert process.seen(module, measured, outcome) == (9, 9)


def test_a_set_whose_process_dies_is_told(measured: Path) -> None:
    package = Path(importlib.import_module("toy_evaluation").__path__[0])
    (package / "deadly.py").write_text(GOOD + "\nimport os\ndef evaluate(*given):\n    os._exit(9)\n")
    (done,) = process.measure([process.Task("toy_evaluation.deadly", measured, "nested", False)], 1)
    assert done.error == "died (exit code 9)"


def test_the_page_is_complete_in_itself_and_marks_where_the_product_works(
    measured: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    folder = tmp_path / "page"
    main(["evaluate", "--data", str(measured), "--set", "good", "--mode", "nested", "--peers", "--report", str(folder)])
    page = (folder / "index.html").read_text("utf-8")
    assert "Operating curve" in page
    assert "works here" in page
    assert "goal ≥ 0.98" in page
    assert "prefers-color-scheme: dark" in page
    assert "var(--s0)" in page
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org/", "")
    assert (folder / "good-operating-curve.png").is_file()


def test_a_curve_without_points_draws_nothing_and_breaks_nothing(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    line = Curve("s", "Calibration", "x", "y", [0.0, 1.0], [0.0, 0.9], "<b>", True)
    curves = [Curve("s", "Empty", "x", "y", [], []), line]
    page = report.write(tmp_path, [], curves, tmp_path, "frozen").read_text("utf-8")
    assert "Empty" not in page
    assert "&lt;b&gt;" in page


def key_files(folder: Path) -> tuple[Path, Path]:
    key = Ed25519PrivateKey.generate()
    private, public = folder / "models.pem", folder / "models.pub.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def test_fit_writes_one_spelling_and_signs_it(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    private, public = key_files(tmp_path)
    out = tmp_path / "models"
    words = ["fit", "good", "--data", str(measured), "--out", str(out), "--key", str(private)]
    assert main(words) == 0
    once = (out / "toy.json").read_bytes()
    assert json.loads(once)["parameters"] == {"w": [0.333333, 2]}
    assert main(words) == 0
    assert (out / "toy.json").read_bytes() == once
    monkeypatch.setattr(start, "PINS", {"toy": ""})
    assert start.read_signed(out, start.public_key(public))["toy"].parameters == {"w": [0.333333, 2]}
    assert main(words[:-2]) == 0
    assert not (out / "toy.json.sig").exists()
    assert main(["fit", "nothing", "--data", str(measured)]) == 2
    assert main([*words[:-1], str(measured / "good.csv")]) == 3
    assert "Ed25519" in capfd.readouterr().err


def test_fit_says_how_far_it_is_and_how_long_it_may_take(
    measured: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "good", "--data", str(measured), "--out", str(tmp_path / "models")]) == 0
    err = capfd.readouterr().err
    assert "good (1 of 1) begins: about 3 minutes for it, 3 until all is done" in err
    assert "good took 0 s" in err


def test_long_work_says_that_it_goes_on(capfd: pytest.CaptureFixture[str]) -> None:
    with fit.Pulse("fit: toy", 2, every_s=0.01) as pulse:
        assert pulse.said.wait(10)
    assert "fit: toy: at work for 0 s, usually about 120 s" in capfd.readouterr().err


def test_fitting_into_the_package_pins_what_it_wrote(tmp_path: Path) -> None:
    data = fit.canonical("toy", {"parameters": {"w": [1.0]}, "card": {}})
    fit.save({"toy": data}, tmp_path, None)
    fit.write_pins(tmp_path, {"toy": data})
    space: dict[str, dict[str, str]] = {}
    exec((tmp_path / "pins.py").read_text(), space)
    assert space["PINS"]["toy"] == models.digest((tmp_path / "toy.json").read_bytes())


def test_a_model_that_holds_no_number_is_not_written() -> None:
    with pytest.raises(ModelError, match=r"toy\.parameters\.w must be finite, was nan"):
        fit.canonical("toy", {"parameters": {"w": [float("nan")]}, "card": {}})


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with one shipped model, and an empty shelf."""
    folder = tmp_path / "shipped"
    data = fit.canonical("toy", {"parameters": {"w": [1.0, 2.0]}, "card": {"purpose": "shipped"}})
    fit.save({"toy": data}, folder, None)
    pins = {"toy": models.digest(data)}
    for place in (models, start):
        monkeypatch.setattr(place, "PINS", pins)
    monkeypatch.setattr(models, "FOLDER", folder)
    monkeypatch.setattr(models, "_SHELF", {})
    monkeypatch.setattr(models, "_HANDED_OUT", {})
    models.shipped.cache_clear()
    yield folder
    models.shipped.cache_clear()


def own_models(tmp_path: Path, parameters: dict[str, list[float]]) -> dict[str, str]:
    private, public = key_files(tmp_path)
    data = fit.canonical("toy", {"parameters": parameters, "card": {"purpose": "our own"}})
    fit.save({"toy": data}, tmp_path / "own", start.private_key(private))
    return {"ANSIM_MODELS_DIR": str(tmp_path / "own"), "ANSIM_MODELS_PUBLIC_KEY": str(public)}


def settings(tmp_path: Path, environ: dict[str, str]) -> Settings:
    return Settings.from_env({"ANSIM_DATA_DIR": str(tmp_path / "data"), "ANSIM_DEMO": "yes"} | environ)


def test_an_operators_signed_model_is_put_in_force_at_the_start(shipped: Path, tmp_path: Path) -> None:
    assert models.shipped("toy").parameters["w"] == [1.0, 2.0]
    house = app.build_house(settings(tmp_path, own_models(tmp_path, {"w": [5.0, 6.0]})))
    house.database.dispose()
    assert models.load("toy").parameters["w"] == [5.0, 6.0]
    assert models.load("toy").card["purpose"] == "our own"


@pytest.mark.parametrize("place", ["toy.json", "toy.json.sig"])
def test_an_altered_or_unsigned_model_refuses_the_start(shipped: Path, tmp_path: Path, place: str) -> None:
    environ = own_models(tmp_path, {"w": [5.0, 6.0]})
    path = tmp_path / "own" / place
    path.write_bytes(path.read_bytes().replace(b"5.0", b"5.1") if place == "toy.json" else b"AAAA" * 22)
    with pytest.raises(ConfigError, match="altered or signed by another key"):
        start.put_in_force(settings(tmp_path, environ))
    (tmp_path / "own" / "toy.json.sig").unlink()
    with pytest.raises(ConfigError, match="is not signed"):
        start.put_in_force(settings(tmp_path, environ))
    assert models.load("toy").parameters["w"] == [1.0, 2.0]


def test_a_model_of_another_release_an_unknown_one_or_none_refuses_the_start(shipped: Path, tmp_path: Path) -> None:
    environ = own_models(tmp_path, {"v": [5.0]})
    with pytest.raises(ConfigError, match="must have the parameters w, was toy with v"):
        start.put_in_force(settings(tmp_path, environ))
    (tmp_path / "own" / "toy.json").rename(tmp_path / "own" / "tox.json")
    with pytest.raises(ConfigError, match="must be one of toy, was 'tox'"):
        start.put_in_force(settings(tmp_path, environ))
    (tmp_path / "own" / "tox.json").unlink()
    with pytest.raises(ConfigError, match="without any"):
        start.put_in_force(settings(tmp_path, environ))
    with pytest.raises(ConfigError, match="ANSIM_MODELS_PUBLIC_KEY must be set"):
        settings(tmp_path, {"ANSIM_MODELS_DIR": environ["ANSIM_MODELS_DIR"]})


def test_a_shipped_model_that_was_altered_refuses_the_start(shipped: Path, tmp_path: Path) -> None:
    start.put_in_force(settings(tmp_path, {}))
    models.shipped.cache_clear()
    (shipped / "toy.json").write_bytes((shipped / "toy.json").read_bytes().replace(b"2.0", b"2.5"))
    with pytest.raises(ConfigError, match="not the one this release was tested with"):
        start.put_in_force(settings(tmp_path, {}))


def test_a_model_already_in_use_is_not_replaced_under_its_user(shipped: Path, tmp_path: Path) -> None:
    models.load("toy")
    with pytest.raises(ConfigError, match="already in use"):
        start.put_in_force(settings(tmp_path, own_models(tmp_path, {"w": [5.0, 6.0]})))


def test_every_shipped_model_is_pinned_and_every_pin_has_its_model() -> None:
    files = {path.stem for path in models.FOLDER.glob("*.json")}
    assert files == set(models.PINS)
    for name in models.PINS:
        card = models.shipped(name).card
        assert {"purpose", "sets", "subjects", "features", "calibration", "limits", "made_by"} <= set(card), name
        for one in card["sets"]:
            assert {"name", "file", "sha256", "subjects", "licence"} <= set(one), name


def test_no_peer_is_ever_imported_by_the_product() -> None:
    peers = ("sklearn", "river", "neurokit2", "wfdb", "pandas", "matplotlib")
    look = f"import sys, service.cli; print([name for name in {peers} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_the_parser_offers_both_commands() -> None:
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    given = parser.parse_args(["--data", ".", "--mode", "nested"])
    assert (given.set, given.peers, given.report) == ([], False, None)
