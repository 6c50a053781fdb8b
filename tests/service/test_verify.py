"""The verifier: every byte of what a proof covers, changed in a copy, is found and its row named."""

from __future__ import annotations

import hashlib
import random
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from proof_stage import Played, copy_of, play, run, verified

from service import cli
from service.store import proof as store
from service.store.audit import chain
from service.workflows import proof
from service.workflows.proof_document import (
    CONTEXT,
    PUBLISHED,
    Document,
    encoded,
    head_of,
    keyid_of,
    opened,
)
from service.workflows.proof_verify import Pin


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    made = play(tmp_path_factory.mktemp("played"))
    yield made
    made.stage.house.database.dispose()


@pytest.fixture
def copy(played: Played, tmp_path: Path) -> Path:
    return copy_of(played, tmp_path / "copy.db")


def test_the_untouched_copy_is_as_it_was_signed(copy: Path) -> None:
    report = verified(copy)
    assert report.ok, report.faults
    assert (report.incidents, report.proofs) == (1, 1)
    assert report.rows > 20


# --- every byte of every covered column -----------------------------------------------------------

ROWS = ("upload", "alarm_condition", "incident_log", "notification", "incident", "proof", "access_log")
FLIPS_A_COLUMN = 5


def columns_of(table: str) -> list[str]:
    cover = store.COVERS.get(table)
    return list(cover.columns if cover else store.KINDS[table])


def flipped(value: Any, kind: str, luck: random.Random) -> Any:
    """The value with one bit or digit of it changed, at a random place; as damage or malice would have it."""
    if value is None:
        return {"bytes": b"x", "text": "x", "id": "0" * 32, "real": 0.25}.get(kind, 1)
    if isinstance(value, bytes):
        at = luck.randrange(len(value))
        return value[:at] + bytes([value[at] ^ (1 << luck.randrange(8))]) + value[at + 1 :]
    if isinstance(value, str):
        if not value:
            return "x"
        at = luck.randrange(len(value))
        digits = "0123456789abcdef" if kind == "id" else "abcxyz-_0"
        return value[:at] + luck.choice([c for c in digits if c != value[at]]) + value[at + 1 :]
    if isinstance(value, float):
        return value + luck.choice((-1.0, 0.5, 1e-9))
    return value ^ (1 << luck.randrange(4 if kind == "flag" else 20)) if kind != "flag" else 1 - value


def flips(copy: Path, luck: random.Random) -> list[tuple[str, int, str]]:
    """(table, rowid, column), several times for every covered column, each in a row picked at random."""
    found = []
    with sqlite3.connect(copy) as db:
        for table in ROWS:
            there = [rowid for (rowid,) in db.execute(f"SELECT rowid FROM {table}").fetchall()]
            columns = columns_of(table) * FLIPS_A_COLUMN
            found += [(table, luck.choice(there), column) for column in columns]
    return found


def test_a_flip_in_any_column_of_any_covered_row_is_found_and_its_row_named(copy: Path) -> None:
    luck, missed, tried = random.Random(20261122), [], 0
    db = sqlite3.connect(copy, isolation_level=None)
    db.execute("PRAGMA journal_mode=DELETE")
    db.row_factory = sqlite3.Row
    for table, rowid, column in flips(copy, luck):
        before = db.execute(f"SELECT * FROM {table} WHERE rowid = ?", (rowid,)).fetchone()
        name = store.row_key(table, dict(before))
        after = flipped(before[column], store.KINDS[table][column], luck)
        if after == before[column]:
            continue
        try:
            db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (after, rowid))
        except sqlite3.IntegrityError:
            continue
        changed = dict(before) | {column: after}
        tried += 1
        names = {(fault.table, fault.row) for fault in verified(copy).faults}
        # A row whose own key was changed is named by either: what was signed is missing, or what is there is not it.
        if not names & {(table, name), (table, store.row_key(table, changed))}:
            missed.append((table, column, before[column], after, names))
        db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (before[column], rowid))
    db.close()
    assert missed == []
    assert tried > 300, tried
    assert verified(copy).ok


# --- rows that go, come, change places, and chains made anew --------------------------------------


def names(copy: Path, pin: Pin | None = None) -> set[tuple[str, str]]:
    return {(fault.table, fault.row) for fault in verified(copy, pin).faults}


def changed(copy: Path, *statements: tuple[str, tuple[Any, ...]]) -> None:
    with sqlite3.connect(copy) as db:
        for statement, given in statements:
            assert db.execute(statement, given).rowcount == 1, statement


def rows_of(copy: Path, table: str, order: str = "rowid") -> list[dict[str, Any]]:
    with sqlite3.connect(copy) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(f"SELECT rowid AS n, * FROM {table} ORDER BY {order}").fetchall()]


@pytest.mark.parametrize("table", ROWS)
def test_a_deleted_row_is_missed_by_name(copy: Path, table: str) -> None:
    row = rows_of(copy, table)[0]
    changed(copy, (f"DELETE FROM {table} WHERE rowid = ?", (row["n"],)))
    named = {"proof": ("proof", f"{UUID(row['incident_id'])}/1")} if table == "proof" else {}
    assert named.get(table, (table, store.row_key(table, row))) in names(copy)


@pytest.mark.parametrize("table", ["upload", "alarm_condition", "incident_log", "notification"])
def test_an_inserted_row_is_named(copy: Path, table: str) -> None:
    row = rows_of(copy, table)[-1]
    del row["n"]
    if table == "incident_log":
        row["seq"] += 1
    else:
        row["id"] = uuid4().hex
    row |= {"attempt": 99} if table == "notification" else {}
    columns = ", ".join(row)
    marks = ", ".join("?" * len(row))
    changed(copy, (f"INSERT INTO {table} ({columns}) VALUES ({marks})", tuple(row.values())))
    assert names(copy) == {(table, store.row_key(table, row))}


@pytest.mark.parametrize("table", ["incident_log", "notification", "upload"])
def test_two_rows_that_change_places_are_both_named(copy: Path, table: str) -> None:
    first, second = rows_of(copy, table)[:2]
    keys = {"incident_log": ("seq",), "notification": ("id",), "upload": ("id", "received_at")}[table]
    swap = {"sealed"} if table != "incident_log" else {"sealed", "at", "previous", "hash"}
    for one, other in ((first, second), (second, first)):
        fields = ", ".join(f"{name} = ?" for name in sorted(swap))
        where = " AND ".join(f"{name} = ?" for name in keys)
        values = tuple(other[name] for name in sorted(swap)) + tuple(one[name] for name in keys)
        changed(copy, (f"UPDATE {table} SET {fields} WHERE {where}", values))
    assert {(table, store.row_key(table, row)) for row in (first, second)} <= names(copy)


def test_a_log_cut_short_is_missed_line_by_line(copy: Path) -> None:
    lines = rows_of(copy, "incident_log", "seq")
    with sqlite3.connect(copy) as db:
        db.execute("DELETE FROM incident_log WHERE seq > ?", (lines[-4]["seq"],))
    assert names(copy) == {("incident_log", store.row_key("incident_log", line)) for line in lines[-3:]}


def rechained(copy: Path) -> dict[str, Any]:
    """Change one line of the log and make every hash after it fit, as somebody with the database alone can."""
    lines = rows_of(copy, "incident_log", "seq")
    victim = lines[2]
    victim["sealed"] = bytes(victim["sealed"][:-1]) + bytes([victim["sealed"][-1] ^ 1])
    incident, previous = UUID(victim["incident_id"]), bytes(lines[1]["hash"])
    for line in lines[2:]:
        link = chain(
            previous, incident.bytes, line["seq"].to_bytes(8, "big"), line["at"].to_bytes(8, "big", signed=True),
            bytes(line["sealed"]),
        )  # fmt: skip
        values = (line["sealed"], previous, link, line["n"])
        changed(copy, ("UPDATE incident_log SET sealed = ?, previous = ?, hash = ? WHERE rowid = ?", values))
        previous = link
    return victim


def test_a_chain_made_anew_without_the_key_is_caught_by_the_signature(copy: Path) -> None:
    victim = rechained(copy)
    assert ("incident_log", store.row_key("incident_log", victim)) in names(copy)


def forged(copy: Path, key: Ed25519PrivateKey, *, publish: bool) -> None:
    """Sign the database as it is now with another key, document and all."""
    [row] = rows_of(copy, "proof")
    document = opened(row["document"])
    assert isinstance(document, Document)
    public = key.public_key().public_bytes_raw()
    tables = {table: {store.row_key(table, one): one for one in rows_of(copy, table)} for table in store.COVERS}
    leaves = [
        type(leaf)(
            leaf.table,
            leaf.row,
            store.hashed(leaf.table, "once", tables[leaf.table][leaf.row]),
            store.hashed(leaf.table, "late", tables[leaf.table][leaf.row]),
        )
        for leaf in document.leaves
    ]
    forgery = type(document)(
        **{name: getattr(document, name) for name in document.__struct_fields__}
        | {"leaves": leaves, "keyid": keyid_of(public) if publish else document.keyid}
    )
    head = head_of(forgery)
    values = (encoded(forgery), head, forgery.keyid, key.sign(CONTEXT + head), row["n"])
    changed(copy, ("UPDATE proof SET document = ?, head = ?, keyid = ?, signature = ? WHERE rowid = ?", values))
    if publish:
        values = (PUBLISHED + forgery.keyid, public.hex(), 0)
        changed(copy, ("INSERT INTO site (name, value, at) VALUES (?, ?, ?)", values))


def test_a_forged_document_under_our_key_id_is_caught(copy: Path) -> None:
    rechained(copy)
    forged(copy, Ed25519PrivateKey.generate(), publish=False)
    assert any(table == "proof" for table, _ in names(copy))


def test_a_forgery_under_a_key_of_ones_own_is_caught_by_the_fingerprint_on_paper(played: Played, copy: Path) -> None:
    on_paper = proof.signing_key(played.stage.house)
    rechained(copy)
    forged(copy, Ed25519PrivateKey.generate(), publish=True)
    assert names(copy) == set(), "it came with its own key: only what is known from elsewhere can tell"
    assert any(table == "proof" for table, _ in names(copy, Pin(keyid=on_paper.keyid)))
    assert any(table == "proof" for table, _ in names(copy, Pin(public_key=on_paper.public, keyid=on_paper.keyid)))


def test_a_head_kept_on_paper_tells_that_even_the_right_key_signed_anew(played: Played, copy: Path) -> None:
    number, _, head = verified(copy).head.partition(":")
    kept = Pin(head=(int(number), bytes.fromhex(head)))
    assert names(copy, kept) == set()
    rechained(copy)
    forged(copy, proof.signing_key(played.stage.house).private, publish=False)
    assert names(copy) == set()
    assert any(table == "proof" for table, _ in names(copy, kept))
    assert names(copy, Pin(head=(7, bytes(32)))) == {("proof", "number 7")}


def test_an_access_log_made_anew_is_caught_by_what_the_proof_pinned(copy: Path) -> None:
    [row] = [one for one in rows_of(copy, "access_log", "seq") if one["seq"] == 1]
    patient = UUID(row["patient_id"])
    link = chain(
        patient.bytes, patient.bytes, (1).to_bytes(8, "big"), row["at"].to_bytes(8, "big", signed=True),
        UUID(int=7).bytes, row["viewer_role"].encode(), row["purpose"].encode(),
        UUID(row["incident_id"]).bytes if row["incident_id"] else b"",
    )  # fmt: skip
    changed(copy, ("UPDATE access_log SET viewer_id = ?, hash = ? WHERE rowid = ?", (UUID(int=7).hex, link, row["n"])))
    assert ("access_log", f"{patient}/1") in names(copy)


# --- one way of writing ---------------------------------------------------------------------------


@given(
    st.sampled_from(["id", "at", "flag", "whole", "real", "bytes", "text"]),
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.binary(), st.text(), st.uuids()),
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.binary(), st.text(), st.uuids()),
)
def test_two_values_are_written_alike_only_when_they_are_the_same(kind: str, one: Any, other: Any) -> None:
    """But for what the engines write differently: a flag as 0 or 1, a whole number in a real column."""
    if store.written(kind, one) == store.written(kind, other):
        alike = one == other or (one != one and other != other)
        if isinstance(one, UUID) or isinstance(other, UUID):
            alike = str(one).replace("-", "") == str(other).replace("-", "")
        assert alike, (one, other)


@given(st.uuids(), st.datetimes(timezones=st.just(UTC)), st.booleans(), st.integers(-(2**62), 2**62), st.binary())
def test_both_engines_rows_are_written_alike(a: UUID, at: datetime, flag: bool, number: int, raw: bytes) -> None:
    micros = (at - datetime(1970, 1, 1, tzinfo=UTC)) // (datetime.resolution)
    assert store.written("id", a) == store.written("id", a.hex)
    assert store.written("at", at) == store.written("at", micros)
    assert store.written("flag", flag) == store.written("flag", int(flag))
    assert store.written("bytes", raw) == store.written("bytes", memoryview(raw))
    assert store.written("whole", number)[:1] == b"i"


def test_every_column_of_every_covered_table_is_covered_or_left_out_on_purpose() -> None:
    for name, cover in store.COVERS.items():
        named = [*cover.once, *cover.late, *cover.left_out]
        assert sorted(named) == sorted(store.KINDS[name]), f"{name}: a new column needs a new format, or a reason"


# --- the command ----------------------------------------------------------------------------------


def test_the_command_says_ok_or_which_row(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = run(capsys, "--database", str(copy))
    assert (code, said["ok"], said["faults"], said["incidents"], said["proofs"]) == (0, True, [], 1, 1)
    victim = rows_of(copy, "notification")[0]
    changed(copy, ("UPDATE notification SET outcome = 'pressed_4' WHERE rowid = ?", (victim["n"],)))
    code, said = run(capsys, "--database", f"sqlite:///{copy}")
    assert code == 1
    [fault] = said["faults"]
    assert (fault["table"], fault["row"], fault["columns"]) == ("notification", str(UUID(victim["id"])), "late")
    assert cli.main(["verify", "--database", str(copy)]) == 1
    assert f"ALTERED  notification     {UUID(victim['id'])}" in capsys.readouterr().out


def test_the_command_needs_no_key_and_writes_nothing(
    copy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIM_KEK", "")
    before = hashlib.sha256(copy.read_bytes()).hexdigest()
    copy.chmod(0o400)
    assert run(capsys, "--database", str(copy))[0] == 0
    assert hashlib.sha256(copy.read_bytes()).hexdigest() == before


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--database", "no-such-file.db"], 3),
        (["--database", "postgresql://nobody@127.0.0.1:1/none"], 3),
        (["--database", "mysql://nobody@127.0.0.1:1/none"], 3),
        (["--proof", "no-such-file.json"], 3),
        (["--public-key", "no-such-key.pem"], 2),
        (["--public-key", "12ab"], 2),
        (["--escrowed", "7"], 2),
        (["--escrowed", "7:xy"], 2),
    ],
)
def test_what_cannot_be_checked_is_said(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", *words]) == code
    assert capsys.readouterr().err.startswith("ansim: ")


def test_a_database_of_others_is_not_taken_for_an_altered_one_of_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE proof (id INTEGER)")
    assert cli.main(["verify", "--database", str(other)]) == 3
    (tmp_path / "text.db").write_text("no database")
    assert cli.main(["verify", "--database", str(tmp_path / "text.db")]) == 3


def test_every_part_of_a_row_keeps_its_own_place(copy: Path) -> None:
    """What stands at the end of one column must not pass for the beginning of the next."""
    row = rows_of(copy, "alarm_condition")[0]
    moved = row | {"code": row["code"] + "s" + row["kind"][:1], "kind": row["kind"][1:]}
    glued = row | {"code": row["code"] + "s", "kind": row["kind"]}
    for other in (moved, glued):
        assert store.hashed("alarm_condition", "once", other) != store.hashed("alarm_condition", "once", row)
    one = row | {"code": "a", "kind": "bsc"}
    other = row | {"code": "asb", "kind": "c"}
    assert store.hashed("alarm_condition", "once", one) != store.hashed("alarm_condition", "once", other)
