"""Reading a request's body: bounded, plain and well formed, or refused by name."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from flask import request

from devices.reading import MAX_BODY_BYTES
from service.api.errors import Problem

T = TypeVar("T")


def read() -> bytes:
    """The whole body, with or without a declared length; 413 when too large, 415 when packed."""
    packed = request.headers.get("Content-Encoding", "identity").strip().lower()
    if packed not in {"", "identity"}:
        detail = f"content-encoding must be identity, was {packed[:20]!r}: send the body as it is"
        raise Problem(415, "encoding_unsupported", detail)
    length = request.content_length
    if length is not None and length > MAX_BODY_BYTES:
        detail = f"the body must be at most {MAX_BODY_BYTES} bytes, was {length}: send it in parts"
        raise Problem(413, "too_large", detail)
    body = bytearray()
    # One read may give less than there is: a body comes in pieces, above all without a declared length.
    while piece := request.stream.read(MAX_BODY_BYTES + 1 - len(body)):
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise Problem(413, "too_large", f"the body must be at most {MAX_BODY_BYTES} bytes: send it in parts")
    return bytes(body)


def decode(body: bytes, kind: type[T], invalid: str) -> T:
    """The body as ``kind``; ``invalid`` is the code for JSON of another shape."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise Problem(422, invalid, str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "not_json", f"the body must be JSON: {error}") from error
