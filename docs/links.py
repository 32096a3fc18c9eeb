"""Does every link lead somewhere? In the Markdown of this repository, or in the pages of a built site: links.py FOLDER.

Addresses of other hosts are not asked: a check must not depend on them.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parent.parent
PAGES = ("*.md", "benchmarks/**/*.md", "docs/**/*.md", "examples/**/*.md", "tests/**/*.md")
FENCE = re.compile(r"\s*(```+|~~~+)")
CODE = re.compile(r"(`+)(?:(?!\1).)+?\1(?!`)")
LINK = re.compile(r"\]\(\s*<?([^)>\s]+)>?(?:\s+[\"'][^)]*)?\)|^\s*\[[^]^]+\]:\s*<?([^>\s]+)")
HEADING = re.compile(r"#{1,6}\s+(.+?)\s*#*\s*$")


class Link(NamedTuple):
    """A link as it is written: its line, counted from 1, and its target."""

    line: int
    target: str


def text_lines(page: str) -> Iterator[tuple[int, str]]:
    """Yield each line of Markdown with its number; lines of code are empty."""
    fence = ""
    for number, line in enumerate(page.splitlines(), 1):
        found = FENCE.match(line)
        if found and not fence:
            fence = found[1]
        elif found and fence and found[1].startswith(fence):
            fence = ""
        elif not fence:
            yield number, line


def markdown_links(page: str) -> Iterator[Link]:
    """Yield the links of a page in Markdown."""
    for number, line in text_lines(page):
        for inline, defined in LINK.findall(CODE.sub("", line)):
            yield Link(number, inline or defined)


def markdown_anchors(page: str) -> set[str]:
    """Return what a link can name in a page, as hosts of repositories make it of headings.

    The site makes it in its own way, and checks it itself; a heading of which both make the same is linked best.
    """
    anchors: set[str] = set()
    for _, line in text_lines(page):
        if heading := HEADING.match(line):
            slug = re.sub(r"[^\w\- ]", "", heading[1].lower()).replace(" ", "-")
            number = 0
            while (anchor := f"{slug}-{number}" if number else slug) in anchors:
                number += 1
            anchors.add(anchor)
    return anchors


class _Page(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[Link] = []
        self.anchors: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            if name in ("href", "src") and value:
                self.links.append(Link(self.getpos()[0], value))


@cache
def links(path: Path) -> list[Link]:
    """Return the links of a page."""
    page = path.read_text(encoding="utf-8")
    return _Page(page).links if path.suffix == ".html" else list(markdown_links(page))


@cache
def anchors(path: Path) -> set[str]:
    """Return what a link can name in a page."""
    page = path.read_text(encoding="utf-8")
    return _Page(page).anchors if path.suffix == ".html" else markdown_anchors(page)


def problem(page: Path, target: str, root: Path) -> str:
    """Say why *target* leads nowhere from *page*; empty when it leads somewhere, or to another host."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return ""
    path = page.parent / unquote(parts.path) if parts.path else page
    if parts.path.startswith("/") and page.suffix == ".html":
        path = root / unquote(parts.path[1:])
    if path.is_dir() and page.suffix == ".html":
        path /= "index.html"
    if not path.resolve().is_relative_to(root.resolve()):
        return f"{target} leads out of this folder"
    if path.is_dir():
        return f"{target} is a folder, which a site does not show; link to a page in it"
    if not path.is_file():
        return f"there is no {target}"
    if parts.fragment and path.suffix in (".md", ".html"):
        there = anchors(path)
        if unquote(parts.fragment) not in there:
            near = difflib.get_close_matches(parts.fragment, there, n=1)
            return f"there is no heading {target}" + (f"; did you mean #{near[0]}?" if near else "")
    return ""


def problems(root: Path, patterns: tuple[str, ...]) -> Iterator[str]:
    """Yield every link of the pages below *root* that leads nowhere, with its place."""
    for page in sorted({path for pattern in patterns for path in root.glob(pattern)}):
        for link in links(page):
            if what := problem(page, link.target, root):
                yield f"{page.relative_to(root)}:{link.line}: {what}"


def main() -> int:
    """Print what leads nowhere; return 1 when something does."""
    site = sys.argv[1:]
    found = list(problems(Path(site[0]), ("**/*.html",)) if site else problems(ROOT, PAGES))
    sys.stderr.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
