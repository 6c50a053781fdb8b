"""Reading TwiML: the few words that a carrier understands in our answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

LIMIT_BYTES = 64 * 1024
"""https://www.twilio.com/docs/api/errors/11750 : a TwiML answer may hold at most 64 KB."""
VERBS = {"Say", "Gather", "Pause", "Play", "Redirect", "Hangup", "Reject", "Dial"}


class TwimlError(Exception):
    """A document that the carrier cannot perform; ``code`` is Twilio's own."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(detail)
        self.code = code


@dataclass(frozen=True)
class Verb:
    name: str
    text: str
    options: dict[str, str]
    inside: tuple[Verb, ...] = ()

    def number(self, name: str, usual: int) -> int:
        value = self.options.get(name, "")
        return int(value) if value.isascii() and value.isdigit() else usual

    def flag(self, name: str) -> bool:
        return self.options.get(name, "").lower() == "true"


def parse(body: bytes | str) -> tuple[Verb, ...]:
    """The verbs of a TwiML document."""
    raw = body.encode() if isinstance(body, str) else body
    if len(raw) > LIMIT_BYTES:
        raise TwimlError(11750, f"TwiML must be at most {LIMIT_BYTES} bytes, was {len(raw)}")
    if b"<!DOCTYPE" in raw or b"<!ENTITY" in raw:
        raise TwimlError(12100, "TwiML must not declare a document type")
    try:
        root = ElementTree.fromstring(raw)
    except ElementTree.ParseError as error:
        raise TwimlError(12100, f"TwiML must be XML: {error}") from None
    if root.tag != "Response":
        raise TwimlError(12200, f"TwiML must begin with Response, was {root.tag}")
    return tuple(_verbs(root))


def _verbs(parent: ElementTree.Element) -> Iterator[Verb]:
    for element in parent:
        if element.tag not in VERBS:
            raise TwimlError(12200, f"TwiML verb {element.tag} is not known to the loopback network")
        inside = tuple(_verbs(element)) if element.tag == "Gather" else ()
        text = "" if inside else " ".join("".join(element.itertext()).split())
        yield Verb(element.tag, text, dict(element.attrib), inside)
