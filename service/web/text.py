"""The words of the pages: one flat file a language, looked up by key."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from dispatch.messages_words import counted

LANGUAGES = ("ko", "en")
_FOLDER = Path(__file__).parent / "translations"


class MissingText(Exception):
    """A page asked for a key that the translations do not have."""


@cache
def words(language: str) -> dict[str, str]:
    """Return every text of one language; a language we do not speak is answered in Korean."""
    name = language if language in LANGUAGES else LANGUAGES[0]
    loaded: dict[str, str] = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


class Translator:
    """``t("key", name=value)`` in one language.

    A missing key raises when `strict` (tests, debugging). In service the key itself is shown: a page
    with one odd word helps a dispatcher more than an error page does.
    """

    def __init__(self, language: str, *, strict: bool = False) -> None:
        self.language = language if language in LANGUAGES else LANGUAGES[0]
        self.strict = strict

    def __call__(self, key: str, **params: object) -> str:
        text = words(self.language).get(key)
        if text is None:
            if self.strict:
                raise MissingText(f"key must be in translations/{self.language}.json, was {key!r}; add it there")
            return key
        return counted(text.format(**params)) if params else text

    def other(self, language: str, key: str) -> str:
        """Return one text in a language named by the page (error pages speak both)."""
        return Translator(language, strict=self.strict)(key)

    def for_scripts(self) -> dict[str, str]:
        """Return the texts that the browser's own code needs (keys beginning with ``js.``)."""
        return {key: text for key, text in words(self.language).items() if key.startswith("js.")}


def preferred(accept_language: str | None, chosen: str | None = None) -> str:
    """Return the language to greet a stranger in: what they chose, else what their browser asks for."""
    if chosen in LANGUAGES:
        return str(chosen)
    for part in (accept_language or "").split(","):
        tag = part.split(";")[0].strip().lower()[:2]
        if tag in LANGUAGES:
            return tag
    return LANGUAGES[0]
