"""An exported proof by itself: what it says is what was signed, and what it leaves out is counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from proof_stage import Played, play, run

from service import cli
from service.tools import verify
from service.workflows import proof, proof_page
from service.workflows.proof_document import fingerprint


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    made = play(tmp_path_factory.mktemp("played"))
    yield made
    made.stage.house.database.dispose()


@pytest.fixture
def exported(played: Played, tmp_path: Path) -> Path:
    file = tmp_path / "proof.json"
    file.write_bytes(msgspec.json.encode(proof_page.export(played.stage.house, played.incident_id, full=True)))
    return file


def test_an_exported_proof_is_checked_without_any_database(
    played: Played, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = proof.signing_key(played.stage.house)
    code, said = run(capsys, "--proof", str(exported), "--public-key", key.fingerprint)
    assert (code, said["ok"], said["pinned"], list(said["keys"])) == (0, True, True, [key.keyid])
    pem = exported.with_name("key.pem")
    pem.write_text(key.pem)
    assert run(capsys, "--proof", str(exported), "--public-key", str(pem))[0] == 0
    other = fingerprint(Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    assert run(capsys, "--proof", str(exported), "--public-key", other)[0] == 1


def _line(export: dict[str, Any]) -> dict[str, Any]:
    return next(one for one in export["opened"] if one["content"].get("what") == "acknowledged")


EDITS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "who": lambda e: _line(e)["content"].update(who="desk"),
    "when": lambda e: _line(e)["content"].update(at="2026-01-01T00:00:00Z"),
    "salt": lambda e: _line(e).update(salt="AAAA"),
    "signature": lambda e: e["versions"][0].update(signature="AAAA"),
    "document": lambda e: e["versions"][0].update(document=e["versions"][0]["document"].replace("upload", "uplaod", 1)),
    "spaces": lambda e: e["versions"][0].update(document=e["versions"][0]["document"].replace(":", ": ", 1)),
    "case": lambda e: e.update(incident_id=str(uuid4())),
    "key": lambda e: e.update(public_key="AAAA"),
    "nothing": lambda e: e.update(versions=[]),
}


@pytest.mark.parametrize("edit", EDITS, ids=list(EDITS))
def test_an_edited_export_is_found_out(exported: Path, edit: str, capsys: pytest.CaptureFixture[str]) -> None:
    export = json.loads(exported.read_text())
    EDITS[edit](export)
    exported.write_text(json.dumps(export))
    code, said = run(capsys, "--proof", str(exported))
    assert (code, said["ok"]) == (1, False)


def edited(exported: Path, edit: Callable[[dict[str, Any]], Any]) -> Path:
    export = json.loads(exported.read_text())
    edit(export)
    exported.write_text(json.dumps(export))
    return exported


def without(what: str) -> Callable[[dict[str, Any]], Any]:
    return lambda e: e.update(opened=[one for one in e["opened"] if one["content"].get("what") != what])


def test_lines_taken_out_of_an_export_are_counted_from_what_was_signed(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = run(capsys, "--proof", str(exported))
    assert (code, said["unopened"]) == (0, 0)
    edited(exported, without("acknowledged"))
    code, said = run(capsys, "--proof", str(exported))
    assert (code, said["unopened"], [fault["row"] for fault in said["faults"]]) == (1, 1, ["withheld"])
    edited(exported, lambda e: e.update(withheld=1))
    assert cli.main(["verify", "--proof", str(exported)]) == 0
    out = capsys.readouterr().out
    assert "lines that were signed and are not opened in this file: 1" in out
    assert "ok: nothing that is shown was changed since it was signed; lines not shown: 1" in out


def test_the_familys_copy_says_how_many_lines_it_does_not_open(
    played: Played, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    family = proof_page.export(played.stage.house, played.incident_id, full=False)
    exported.write_bytes(msgspec.json.encode(family))
    code, said = run(capsys, "--proof", str(exported))
    assert (code, said["unopened"]) == (0, family.withheld)
    assert family.withheld > 0
    edited(exported, lambda e: e.update(withheld=0))
    code, said = run(capsys, "--proof", str(exported))
    assert (code, said["unopened"]) == (1, family.withheld)


def test_a_line_shown_twice_is_found_out(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edited(exported, lambda e: e["opened"].append(_line(e)))
    code, said = run(capsys, "--proof", str(exported))
    assert (code, [fault["table"] for fault in said["faults"]]) == (1, ["opened"])


@pytest.mark.parametrize("simulated", [True, False, None])
def test_whether_a_case_was_simulated_is_no_fact_of_its_proof(
    exported: Path, simulated: bool | None, capsys: pytest.CaptureFixture[str]
) -> None:
    edited(exported, lambda e: e.pop("simulated") if simulated is None else e.update(simulated=simulated))
    assert cli.main(["verify", "--proof", str(exported)]) == 0
    out = capsys.readouterr().out
    assert "(simulated)" not in out
    assert "whether it was simulated is not part of what is signed" in out


def test_a_fingerprint_that_is_not_its_keys_is_named(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edited(exported, lambda e: e.update(fingerprint=" ".join(["1234"] * 8)))
    code, said = run(capsys, "--proof", str(exported))
    assert (code, [fault["row"] for fault in said["faults"]]) == (1, ["fingerprint"])


UNKNOWN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "beside": (lambda e: e.update(verdict="all well"), "verdict"),
    "in a version": (lambda e: e["versions"][0].update(verdict="all well"), "versions[0].verdict"),
    "in a line": (lambda e: e["opened"][1].update(verdict="all well"), "opened[1].verdict"),
    "another format": (lambda e: e.update(format="ansim-proof-export-9"), "ansim-proof-export-9"),
    "no format": (lambda e: e.pop("format"), "format"),
}


@pytest.mark.parametrize("edit", UNKNOWN, ids=list(UNKNOWN))
def test_an_export_with_anything_it_does_not_know_is_refused_by_name(
    exported: Path, edit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change, named = UNKNOWN[edit]
    assert cli.main(["verify", "--proof", str(edited(exported, change))]) == 2
    assert named in capsys.readouterr().err


def test_an_export_that_gives_one_field_twice_is_refused(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exported.write_text('{"withheld": 9, ' + exported.read_text()[1:])
    assert cli.main(["verify", "--proof", str(exported)]) == 2
    assert "withheld" in capsys.readouterr().err


def test_a_call_that_we_hung_up_ourselves_does_not_read_as_its_callees_doing() -> None:
    content = {"at": "2026-11-22T00:00:00Z", "what": "called_off", "who": "patient", "params": {}}
    line = verify.line_of(content)
    assert line == "  2026-11-22T00:00:00Z  called_off  system  to=patient"
    assert content["who"] == "patient"
