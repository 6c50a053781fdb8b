"""Help pages: Markdown files of ours, one a page and language."""

from __future__ import annotations

import re
from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup

FOLDER = Path(__file__).parents[1] / "help"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")
# "js-default" escapes HTML and drops javascript: links, even though the files are our own.
_MARKDOWN = MarkdownIt("js-default", {"html": False}).enable("table")


def find(page: str, language: str, folder: Path = FOLDER) -> Path | None:
    """Return the page's file in `language`, else in whatever language there is, else None."""
    page = page.removesuffix(".md").removesuffix(".ko").removesuffix(".en")  # as the files link one another
    if not _NAME.fullmatch(page):
        return None
    names = (f"{page}.{language}.md", f"{page}.md", f"{page}.ko.md", f"{page}.en.md")
    return next((folder / name for name in names if (folder / name).is_file()), None)


def render(path: Path) -> tuple[str, Markup]:
    """Return the page's title and its body."""
    source = path.read_text(encoding="utf-8")
    title = next((line.lstrip("# ").strip() for line in source.splitlines() if line.startswith("#")), path.stem)
    return title, Markup(_MARKDOWN.render(source))  # noqa: S704 - raw HTML is off in the converter
