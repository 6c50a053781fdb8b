"""The upload on the wire: strict structs for the fast road, and item-by-item repair for all the rest."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec

from devices.batch import EventKind
from devices.verdicts import Dropped
from devices.vitals import COLUMNS, INDEX

MAX_BODY_BYTES = 2**20
MAX_INSTANTS = 10_000
# RFC 8259 section 6: integers up to here agree exactly between implementations.
MAX_SEQ = 2**53 - 1
MAX_TEXT = 80
# So many unknown fields are named for an item, then "*": the answer must not outgrow the question.
MAX_UNKNOWN = 16

Aware = Annotated[datetime, msgspec.Meta(tz=True)]
Seq = Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)]
Numbers = list[float | None]

_ROW_COLUMNS = [(c.name, bool | float | None if c.name == "worn" else float | None, None) for c in COLUMNS]
WireRow = msgspec.defstruct(
    "WireRow",
    [
        ("seq", Seq),
        ("at", Aware | None, None),
        *_ROW_COLUMNS,
        ("event", str | None, None),
        ("place", str | None, None),
    ],
    forbid_unknown_fields=True,
    gc=False,
)
_SERIES_COLUMNS = [
    (c.name, list[bool | float | None] | None if c.name == "worn" else Numbers | None, None) for c in COLUMNS
]
WireSeries = msgspec.defstruct(
    "WireSeries",
    [("first_seq", Seq), ("start", Aware | None, None), ("step_s", float | None, None), *_SERIES_COLUMNS],
    forbid_unknown_fields=True,
)


class WireBeats(msgspec.Struct, forbid_unknown_fields=True):
    """Beat intervals as posted."""

    first_seq: Seq
    start: Aware | None = None
    rr_ms: Numbers = []


class WireWaveform(msgspec.Struct, forbid_unknown_fields=True):
    """A raw signal as posted."""

    seq: Seq
    start: Aware | None = None
    sampling_rate_hz: float | None = None
    kind: str | None = None
    unit: str | None = None
    channels: list[Numbers] = []


class WireUpload(msgspec.Struct):
    """The whole body; its JSON schema is the published one."""

    upload_id: UUID
    boot_id: UUID
    sent_at: Aware | None = None
    readings: list[WireRow] | None = None  # type: ignore[valid-type]
    series: list[WireSeries] | None = None  # type: ignore[valid-type]
    beats: list[WireBeats] | None = None
    waveforms: list[WireWaveform] | None = None


class UploadError(Exception):
    """The whole request fails and nothing of it was consumed."""

    def __init__(self, status: int, code: str, detail: str, field: str | None = None) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.field = status, code, detail, field


@dataclass(slots=True)
class Refusal:
    """Items refused as they stand; ``seq`` is None where there is no usable number."""

    seq: int | None
    count: int
    code: str
    field: str | None
    detail: str


@dataclass(slots=True)
class Item:
    """One decoded item with what had to be left out of it: as a whole, and element by element."""

    wire: Any
    dropped: list[Dropped] = field(default_factory=list)
    elements: dict[int, list[Dropped]] = field(default_factory=dict)
    length: int = 0
    """At least so many numbers are consumed, although columns that are unusable had to go."""


@dataclass(slots=True)
class Decoded:
    """An upload with every item readable, or refused by name."""

    upload_id: UUID
    boot_id: UUID
    sent_at: datetime | None
    readings: list[Any]
    series: list[Item]
    beats: list[Item]
    waveforms: list[Item]
    row_dropped: dict[int, list[Dropped]] = field(default_factory=dict)
    """By place in ``readings`` here (refused items are gone from it)."""
    unnumbered: list[tuple[int, Any, str]] = field(default_factory=list)
    """Events without a usable number: their place in the posted list, the row, and why."""
    refused: list[Refusal] = field(default_factory=list)


_STRICT = msgspec.json.Decoder(WireUpload)


def decode(body: bytes) -> Decoded:
    """Decode strictly, and where that fails repair item by item; raises UploadError."""
    if len(body) > MAX_BODY_BYTES:
        raise UploadError(413, "too_large", f"body must be at most {MAX_BODY_BYTES} bytes: split it")
    try:
        upload = _STRICT.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _repaired(_raw(body))
    return Decoded(
        upload.upload_id,
        upload.boot_id,
        upload.sent_at,
        upload.readings or [],
        [Item(wire) for wire in upload.series or ()],
        [Item(wire) for wire in upload.beats or ()],
        [Item(wire) for wire in upload.waveforms or ()],
    )


def _raw(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    # msgspec refuses numbers beyond float64 and lone surrogates; JSON allows them: a field is lost, no body.
    try:
        return json.loads(body.decode(), parse_constant=_no_constant, parse_int=_integer)
    except (ValueError, RecursionError) as why:
        raise UploadError(400, "not_json", f"body must be JSON (RFC 8259): {why}") from why


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON: send null for an absent value")


def _integer(text: str) -> float:
    # Python limits the digits of an int; beyond 400 no float64 holds it either.
    return int(text) if len(text) < 400 else math.copysign(math.inf, -1 if text[0] == "-" else 1)


def _repaired(raw: Any) -> Decoded:
    if not isinstance(raw, dict):
        raise UploadError(422, "not_an_upload", f"body must be an object, was {_kind(raw)}")
    ids = _uuid(raw, "upload_id"), _uuid(raw, "boot_id")
    decoded = Decoded(*ids, aware(raw.get("sent_at")), [], [], [], [])
    _each(raw, "readings", lambda place, item: _repair_row(decoded, place, item))
    _each(raw, "series", lambda place, item: _repair_series(decoded, place, item))
    _each(raw, "beats", lambda place, item: _repair_beats(decoded, place, item))
    _each(raw, "waveforms", lambda place, item: _repair_waveform(decoded, place, item))
    return decoded


def _uuid(raw: dict[str, Any], name: str) -> UUID:
    try:
        return msgspec.convert(raw.get(name), UUID)
    except (msgspec.ValidationError, UnicodeEncodeError) as why:
        detail = f"{name} must be a UUID, was {_kind(raw.get(name))}"
        raise UploadError(422, f"{name}_invalid", detail, name) from why


def _each(raw: dict[str, Any], name: str, repair: Callable[[int, Any], None]) -> None:
    items = raw.get(name)
    if items is None:
        return
    if not isinstance(items, list):
        raise UploadError(422, "not_an_upload", f"{name} must be a list, was {_kind(items)}", name)
    refuse_too_many(len(items))
    for place, item in enumerate(items):
        repair(place, item)


def refuse_too_many(instants: int) -> None:
    """Raise UploadError 413 for more instants than one upload may carry."""
    if instants > MAX_INSTANTS:
        detail = f"an upload must carry at most {MAX_INSTANTS} instants, were {instants}: split it"
        raise UploadError(413, "too_large", detail)


def _repair_row(decoded: Decoded, place: int, raw: Any) -> None:
    if not isinstance(raw, dict):
        detail = f"readings[{place}] must be an object, was {_kind(raw)}"
        decoded.refused.append(Refusal(None, 1, "wrong_type", None, detail))
        return
    dropped: list[Dropped] = []
    kept: dict[str, Any] = {"at": aware(raw.get("at"))}
    for name, value in raw.items():
        if name in ("seq", "at") or value is None:
            continue
        if name in INDEX:
            kept[name], code = number(value, name)
        elif name in ("event", "place"):
            kept[name], code = _text(value)
        else:
            code = None
            _name_unknown(dropped, name)
        if code:
            dropped.append(Dropped(name, code))
    has_event = event_kind(kept.get("event")) is not None
    seq = _seq(raw.get("seq"), lenient=has_event)
    if seq is None:
        detail = f"readings[{place}]: {_seq_complaint('seq', raw.get('seq'))}"
        if has_event:
            decoded.unnumbered.append((place, WireRow(seq=place, **kept), detail))
        else:
            decoded.refused.append(Refusal(None, 1, "seq_invalid", "seq", detail))
        return
    if dropped:
        decoded.row_dropped[len(decoded.readings)] = dropped
    decoded.readings.append(WireRow(seq=seq, **kept))


def _repair_series(decoded: Decoded, place: int, raw: Any) -> None:
    if not isinstance(raw, dict):
        detail = f"series[{place}] must be an object, was {_kind(raw)}"
        decoded.refused.append(Refusal(None, 1, "wrong_type", None, detail))
        return
    item = Item(None)
    columns: dict[str, Any] = {}
    for name, value in raw.items():
        if name in ("first_seq", "start", "step_s") or value is None:
            continue
        if isinstance(value, list):
            item.length = max(item.length, len(value))
        if name not in INDEX:
            _name_unknown(item.dropped, name)
        elif not isinstance(value, list):
            item.dropped.append(Dropped(name, "wrong_type"))
        else:
            columns[name] = _elements(value, name, item)
    first_seq = _seq(raw.get("first_seq"), room=item.length)
    if first_seq is None:
        detail = f"series[{place}]: {_seq_complaint('first_seq', raw.get('first_seq'))}"
        decoded.refused.append(Refusal(None, max(item.length, 1), "seq_invalid", "first_seq", detail))
        return
    step_s, _ = number(raw.get("step_s"), "step_s")
    item.wire = WireSeries(first_seq=first_seq, start=aware(raw.get("start")), step_s=step_s, **columns)
    decoded.series.append(item)


def _repair_beats(decoded: Decoded, place: int, raw: Any) -> None:
    rr = raw.get("rr_ms") if isinstance(raw, dict) else None
    item = Item(None, length=len(rr) if isinstance(rr, list) else 0)
    first_seq = _seq(raw.get("first_seq"), room=item.length) if isinstance(raw, dict) else None
    if first_seq is None:
        detail = f"beats[{place}] must be an object with a first_seq, was {_kind(raw)}"
        decoded.refused.append(Refusal(None, max(item.length, 1), "seq_invalid", "first_seq", detail))
    elif not isinstance(rr, list):
        detail = f"beats[{place}].rr_ms must be a list, was {_kind(rr)}"
        decoded.refused.append(Refusal(first_seq, 1, "wrong_type", "rr_ms", detail))
    else:
        item.dropped = _unknown(raw, WireBeats)
        item.wire = WireBeats(first_seq, aware(raw.get("start")), _elements(rr, "rr_ms", item))
        decoded.beats.append(item)


def _repair_waveform(decoded: Decoded, place: int, raw: Any) -> None:
    seq = _seq(raw.get("seq")) if isinstance(raw, dict) else None
    if seq is None:
        detail = f"waveforms[{place}] must be an object with a seq, was {_kind(raw)}"
        decoded.refused.append(Refusal(None, 1, "seq_invalid", "seq", detail))
        return
    channels = raw.get("channels")
    if not isinstance(channels, list) or not all(isinstance(channel, list) for channel in channels):
        detail = f"waveforms[{place}].channels must be a list of lists of numbers"
        decoded.refused.append(Refusal(seq, 1, "wrong_type", "channels", detail))
        return
    item = Item(None, _unknown(raw, WireWaveform))
    kept = [_elements(channel, "channels", item) for channel in channels]
    # A waveform is one item: however many samples were unusable, the field is named once.
    named = {drop.code: drop for drops in item.elements.values() for drop in drops}
    item.dropped += [named[code] for code in sorted(named)]
    rate, _ = number(raw.get("sampling_rate_hz"), "sampling_rate_hz")
    kind, unit = _text(raw.get("kind"))[0], _text(raw.get("unit"))[0]
    item.wire = WireWaveform(seq, aware(raw.get("start")), rate, kind, unit, kept)
    decoded.waveforms.append(item)


def _elements(values: list[Any], name: str, item: Item) -> Numbers:
    kept: Numbers = []
    for k, value in enumerate(values):
        if value is None:
            kept.append(None)
            continue
        good, code = number(value, name)
        kept.append(good)
        if code:
            item.elements.setdefault(k, []).append(Dropped(name, code))
    return kept


def _unknown(raw: dict[str, Any], wire: type[msgspec.Struct]) -> list[Dropped]:
    known = wire.__struct_fields__
    dropped: list[Dropped] = []
    for name, value in raw.items():
        if name not in known and value is not None:
            _name_unknown(dropped, name)
    return dropped


def _name_unknown(dropped: list[Dropped], name: str) -> None:
    named = sum(drop.code == "unknown_field" for drop in dropped)
    if named <= MAX_UNKNOWN:
        dropped.append(Dropped(clean(name) if named < MAX_UNKNOWN else "*", "unknown_field"))


def number(value: Any, name: str) -> tuple[float | None, str | None]:
    """Read a JSON number; a truth value counts as one only where the vital sign is yes or no."""
    if isinstance(value, bool):
        return (float(value), None) if name == "worn" else (None, "wrong_type")
    if not isinstance(value, (int, float)):
        return None, "wrong_type"
    try:
        read = float(value)
    except OverflowError:
        return None, "not_finite"
    return (read, None) if math.isfinite(read) else (None, "not_finite")


def _text(value: Any) -> tuple[str | None, str | None]:
    return (clean(value), None) if isinstance(value, str) else (None, "wrong_type")


def clean(text: str) -> str:
    """Make any JSON string safe to store and to repeat: whole characters, bounded."""
    return text.encode("utf-8", "replace").decode()[:MAX_TEXT]


def event_kind(text: str | None) -> EventKind | None:
    """Read an event's kind, forgiving case, blanks and hyphens: an SOS is not lost to spelling."""
    if text is None:
        return None
    word = re.sub(r"[\s-]+", "_", text.strip().lower())
    return EventKind(word) if word in EventKind.__members__.values() else None


def _seq(value: Any, room: int = 1, lenient: bool = False) -> int | None:
    if lenient and isinstance(value, float) and value.is_integer():
        value = int(value)
    if lenient and isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if value >= 0 and value + max(room, 1) - 1 <= MAX_SEQ else None


def _seq_complaint(name: str, value: Any) -> str:
    was = "outside" if isinstance(value, int) and not isinstance(value, bool) else _kind(value)
    return f"{name} must be an integer within 0 to {MAX_SEQ}, was {was}: number every item"


def aware(value: Any) -> datetime | None:
    """Read an RFC 3339 time with an offset, leap seconds included; None where it is not one."""
    # Half a surrogate pair would make msgspec raise UnicodeEncodeError and cost the whole upload.
    if not isinstance(value, str) or not value.isascii():
        return None
    try:
        return msgspec.convert(value, Aware)
    except msgspec.ValidationError:
        pass
    # RFC 3339 section 5.7 allows second 60, datetime does not: the microsecond before it is near enough.
    eased = re.sub(r"(:\d\d):60(\.\d+)?(?=[Zz+-])", r"\1:59.999999", value, count=1)
    try:
        return msgspec.convert(eased, Aware) if eased != value else None
    except msgspec.ValidationError:
        return None


def _kind(value: Any) -> str:
    """Name a JSON value without repeating it: a value may be somebody's health."""
    if value is None:
        return "absent"
    names = {bool: "true or false", int: "an integer", float: "a number", str: "a string", list: "a list"}
    return names.get(type(value), "an object")
