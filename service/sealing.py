"""Sealing: records encrypted under one key a person, bound to their place, gone when the key is erased.

A sealed record is ``version (1) | key id (16) | nonce (12) | AES-256-GCM ciphertext and tag (16)``: 45 bytes
more than what it holds. Its associated data bind version, table, person and record, so it opens nowhere else.
What it cannot show is an *older* record put back in its own place: give what changes in place (a detector's
state, an incident) a record id that carries its version; the audit chain over ciphertext shows the rest.

Source: NIST SP 800-38D (GCM; random 96-bit nonces hold for 2**32 records a key: one a second for 136 years).
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import math
import os
import secrets
import struct
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from threading import Lock
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from service.keystore import KeyStore, KeyStoreUnreachable, SiteKey, WrappedKey, load_or_make_kek
from service.setting import KEK_BYTES

__all__ = [
    "KeyErased",
    "KeyMissing",
    "KeyRing",
    "KeyStore",
    "KeyStoreUnreachable",
    "SealBroken",
    "SealingError",
    "WrongKek",
    "load_or_make_kek",
]

log = logging.getLogger(__name__)

VERSION = b"\x01"
KEY_ID_BYTES = 16
NONCE_BYTES = 12
TAG_BYTES = 16
HEADER_BYTES = len(VERSION) + KEY_ID_BYTES + NONCE_BYTES
OVERHEAD_BYTES = HEADER_BYTES + TAG_BYTES
ERASURE_CHECK_S = 2.0
"""Policy: how often each process looks for erasures; one takes effect everywhere within twice this."""
OUTAGE_GRACE_S = 600.0
"""Policy: keys in memory outlive an unreachable key store by this; an SOS must not wait for a database."""
CACHED_KEYS = 20_000
"""Policy: about 20 MB; ten times the people of one small site."""
BLIND_INDEX = "blind-index"

PersonId = UUID | str
RecordId = UUID | str | bytes
_length = struct.Struct(">I").pack


class SealingError(Exception):
    """Anything that keeps a record from being sealed or opened."""


class SealBroken(SealingError):
    """A sealed record does not open where it was found: swapped, truncated, altered or of another key."""

    def __init__(self, table: str, person: str, record: str, why: str) -> None:
        super().__init__(f"sealed record does not open: table={table} person={person} record={record}: {why}")
        self.table, self.person, self.record, self.why = table, person, record, why


class KeyErased(SealingError):
    """The person's key was destroyed: what it sealed cannot be read again by anybody."""

    def __init__(self, person: str) -> None:
        super().__init__(f"the key of person {person} was erased; what it sealed is gone for good")
        self.person = person


class KeyMissing(SealingError):
    """The person never had a key here."""

    def __init__(self, person: str) -> None:
        super().__init__(
            f"person {person} has no key: create one before sealing; if there should be one, the key store "
            "(ANSIM_KEYS_URL) is not the one that belongs to this data"
        )
        self.person = person


class WrongKek(SealingError):
    """The key store was made with another key-encryption key than the one given."""

    def __init__(self, wanted: str, given: str) -> None:
        super().__init__(
            f"ANSIM_KEK must be the key-encryption key {wanted} that this key store was made with, was "
            f"{given}: give the one kept offline for this site, or point ANSIM_KEYS_URL at its own store"
        )
        self.wanted, self.given = wanted, given


class _Key:
    __slots__ = ("aead", "header")

    def __init__(self, key_id: bytes, key: bytes) -> None:
        self.header = VERSION + key_id
        self.aead = AESGCM(key)


def kek_fingerprint(kek: bytes) -> str:
    """Name a key-encryption key without giving it away: 16 hexadecimal digits."""
    return hmac.digest(kek, b"ansim kek fingerprint v1", "sha256")[:8].hex()


class KeyRing:
    """Seals, opens, indexes and erases; safe to share between threads, make one a process.

    Parameters
    ----------
    store : KeyStore
        Where wrapped keys are kept.
    kek : bytes
        Key-encryption key, 32 bytes.
    now_us : callable, optional
        Microseconds UTC, written beside new and erased keys.
    monotonic : callable, optional
        Seconds that never jump; decides when erasures are looked for.
    cached_keys : int, optional
        Unwrapped keys held in memory; the least recently used goes first.

    Raises
    ------
    WrongKek
        When the store was made with another key-encryption key.
    KeyStoreUnreachable
        When the store does not answer.

    Notes
    -----
    Every ``ERASURE_CHECK_S`` one query counts the store's erasures; when the count has changed every cached
    key is dropped. So an erasure elsewhere takes effect here within 4 s, at a cost that does not
    grow with the number of people. While the store is unreachable, cached keys go on working for
    ``OUTAGE_GRACE_S`` since the last good check.
    """

    def __init__(
        self,
        store: KeyStore,
        kek: bytes,
        *,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        monotonic: Callable[[], float] = time.monotonic,
        cached_keys: int = CACHED_KEYS,
    ) -> None:
        if len(kek) != KEK_BYTES:
            raise ValueError(f"kek must be {KEK_BYTES} bytes, was {len(kek)}")
        self._store = store
        self._kek = AESGCM(kek)
        self._kek_id = kek_fingerprint(kek)
        self._now_us, self._monotonic = now_us, monotonic
        self._limit = cached_keys
        self._lock, self._check_lock = Lock(), Lock()
        self._cache: OrderedDict[str, _Key] = OrderedDict()
        self._erasures = store.erasures()
        self._checked_at = self._good_at = monotonic()
        self._index_key = self.site_secret(BLIND_INDEX)

    def create(self, person_id: PersonId) -> None:
        """Make sure that the person has a key; harmless when repeated or raced by other processes.

        Parameters
        ----------
        person_id : UUID or str

        Raises
        ------
        KeyErased
            When the person's key was erased: an erased person does not come back under the same id.
        """
        person = str(person_id)
        self.create_many([person])
        self._key(person)

    def create_many(self, person_ids: Iterable[PersonId]) -> None:
        """Make sure that all of these people have keys, in one commit; erased ones stay erased.

        Parameters
        ----------
        person_ids : iterable of UUID or str
        """
        now_us = self._now_us()
        fresh = []
        for person in map(str, person_ids):
            key_id = secrets.token_bytes(KEY_ID_BYTES)
            wrapped = self._wrap(secrets.token_bytes(32), _bind(b"person-key", person.encode(), key_id))
            fresh.append(
                WrappedKey(
                    person_id=person, key_id=key_id, kek_id=self._kek_id, wrapped=wrapped, created_at=now_us
                )
            )
        self._store.add_people(fresh)

    def seal(self, person_id: PersonId, table: str, record_id: RecordId, plaintext: bytes) -> bytes:
        """Encrypt a record for one place.

        Parameters
        ----------
        person_id : UUID or str
            Whose key seals it.
        table : str
            Table, or table and column, that it will be kept in.
        record_id : UUID, str or bytes
            Its key there; the same text or bytes are needed to open it. A UUID counts as its text.
        plaintext : bytes

        Returns
        -------
        bytes
            45 bytes longer than ``plaintext``; never twice the same.

        Raises
        ------
        KeyMissing, KeyErased, WrongKek, KeyStoreUnreachable
        """
        person = person_id if type(person_id) is str else str(person_id)
        key = self._key(person)
        nonce = os.urandom(NONCE_BYTES)
        bound = _bind(VERSION, table.encode(), person.encode(), _record_bytes(record_id))
        return key.header + nonce + key.aead.encrypt(nonce, plaintext, bound)

    def unseal(self, person_id: PersonId, table: str, record_id: RecordId, sealed: bytes) -> bytes:
        """Decrypt a record in the place that it was sealed for.

        Parameters
        ----------
        person_id, table, record_id
            As given to ``seal``.
        sealed : bytes

        Returns
        -------
        bytes
            What was sealed.

        Raises
        ------
        SealBroken
            When it was truncated, altered, or belongs to another place, person or key.
        KeyMissing, KeyErased, WrongKek, KeyStoreUnreachable
        """
        person = person_id if type(person_id) is str else str(person_id)
        key = self._key(person)
        record = _record_bytes(record_id)
        sealed = bytes(sealed)
        why = _shape_fault(sealed, key.header)
        if why is None:
            bound = _bind(VERSION, table.encode(), person.encode(), record)
            nonce = sealed[HEADER_BYTES - NONCE_BYTES : HEADER_BYTES]
            try:
                return key.aead.decrypt(nonce, sealed[HEADER_BYTES:], bound)
            except InvalidTag:
                why = "altered, or moved here from another place"
        shown = record.hex() if isinstance(record_id, bytes) else str(record_id)
        raise SealBroken(table, person, shown, why)

    def blind_index(self, kind: str, value: str) -> bytes:
        """Give a value's keyed fingerprint, by which equal values are found without being read.

        Parameters
        ----------
        kind : str
            What it is (``phone``, ``login``): equal values of two kinds differ.
        value : str
            Already in its one normal form (E.164, case-folded): the caller's duty.

        Returns
        -------
        bytes
            32 bytes, HMAC-SHA256 under the site's own index key.
        """
        return hmac.digest(self._index_key, _bind(kind.encode(), value.encode()), hashlib.sha256)

    def erase(self, person_id: PersonId) -> bool:
        """Destroy a person's key, and with it everything that it sealed, here and in every backup.

        Parameters
        ----------
        person_id : UUID or str

        Returns
        -------
        bool
            Whether there was a key to destroy.

        Notes
        -----
        Takes effect in this process at once, in others within twice ``ERASURE_CHECK_S``. A copy of the key
        *store* outlives this: keep none longer than the erasure deadline you promise.
        """
        person = str(person_id)
        erased = self._store.erase(person, self._now_us())
        with self._lock:
            self._cache.pop(person, None)
            # A thread that read the key just before may still cache it: look again at the next use.
            self._checked_at = -math.inf
        return erased

    def check(self) -> None:
        """Raise unless the key store answers now: for readiness."""
        self._store.erasures()

    def _key(self, person: str) -> _Key:
        self._look_for_erasures()
        with self._lock:
            key = self._cache.get(person)
            if key is not None:
                self._cache.move_to_end(person)
                return key
            seen = self._erasures
        key = self._unwrap_person(person)
        with self._lock:
            # Read before an erasure that was noticed meanwhile: good for this call, not for keeping.
            if seen == self._erasures:
                self._cache[person] = key
                while len(self._cache) > self._limit:
                    self._cache.popitem(last=False)
        return key

    def _look_for_erasures(self) -> None:
        overdue_s = self._monotonic() - self._checked_at - ERASURE_CHECK_S
        # One thread looks while the others go on, but not past the promised time.
        if overdue_s < 0 or not self._check_lock.acquire(blocking=overdue_s > ERASURE_CHECK_S):
            return
        try:
            if self._monotonic() - self._checked_at >= ERASURE_CHECK_S:
                self._drop_erased()
        finally:
            self._check_lock.release()

    def _drop_erased(self) -> None:
        now = self._monotonic()
        try:
            erasures = self._store.erasures()
        except KeyStoreUnreachable as error:
            if now - self._good_at > OUTAGE_GRACE_S:
                raise
            # Not asked again at once: every request would wait for the same dead database.
            self._checked_at = now
            log.error("key_store_unreachable cached_keys_for_s=%.0f reason=%s", OUTAGE_GRACE_S, error)
            return
        with self._lock:
            if erasures != self._erasures:
                self._cache.clear()
                self._erasures = erasures
            self._checked_at = self._good_at = now

    def _unwrap_person(self, person: str) -> _Key:
        stored = self._store.person(person)
        if stored is None:
            raise KeyMissing(person)
        if stored.wrapped is None:
            raise KeyErased(person)
        bound = _bind(b"person-key", person.encode(), stored.key_id)
        key = self._unwrap(stored.wrapped, stored.kek_id, bound, ("person_key", person, stored.key_id.hex()))
        return _Key(stored.key_id, key)

    def site_secret(self, name: str) -> bytes:
        """Give the whole site's secret of this name: 32 random bytes, made the first time it is asked for."""
        stored = self._store.site_key(name)
        bound = _bind(b"site-key", name.encode())
        if stored is None:
            wrapped = self._wrap(secrets.token_bytes(32), bound)
            self._store.add_site_key(SiteKey(name=name, kek_id=self._kek_id, wrapped=wrapped))
            stored = self._store.site_key(name)
        if stored is None:
            raise KeyStoreUnreachable("key store did not keep the site key that was just written")
        return self._unwrap(stored.wrapped, stored.kek_id, bound, ("site_key", "-", name))

    def _wrap(self, key: bytes, bound: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._kek.encrypt(nonce, key, bound)

    def _unwrap(self, wrapped: bytes, kek_id: str, bound: bytes, place: tuple[str, str, str]) -> bytes:
        if kek_id != self._kek_id:
            raise WrongKek(kek_id, self._kek_id)
        try:
            return self._kek.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], bound)
        except (InvalidTag, ValueError) as error:
            raise SealBroken(*place, "the stored key was altered or moved from another row") from error


def _bind(*parts: bytes) -> bytes:
    # Each part behind its own length: no two lists of parts give the same bytes.
    return b"".join([piece for part in parts for piece in (_length(len(part)), part)])


def _record_bytes(record_id: RecordId) -> bytes:
    return record_id if isinstance(record_id, bytes) else str(record_id).encode()


def _shape_fault(sealed: bytes, header: bytes) -> str | None:
    if len(sealed) < OVERHEAD_BYTES:
        return f"truncated, {len(sealed)} bytes of at least {OVERHEAD_BYTES}"
    if sealed[:1] != VERSION:
        return f"version {sealed[0]} is not one that this program writes"
    if sealed[: len(header)] != header:
        return "sealed with a key that is not this person's"
    return None
