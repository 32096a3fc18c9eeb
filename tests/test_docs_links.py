"""Links that lead nowhere are found, in Markdown and in a built site, and no others."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def links() -> ModuleType:
    spec = importlib.util.spec_from_file_location("links", ROOT / "docs" / "links.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


OTHER = "# Other\n\n## Trying again: `retry`\n\n## Twice\n\n## Twice\n\n```console\n# no heading\n```\n"

# what README.md says                                   what is found there
MARKDOWN = [
    ("[a](docs/other.md)", None),
    ("[a](docs/other.md#trying-again-retry)", None),
    ("[a](docs/other.md#twice-1) and [b](#top)\n\n# Top", None),
    ("![a](docs/one.png)", None),
    ("[a](https://example.com/nowhere) <https://example.com>", None),
    ("`[a](nowhere.md)`", None),
    ("```\n[a](nowhere.md)\n```", None),
    ("[a](nowhere.md)", "README.md:1: there is no nowhere.md"),
    ("one\n\n[a](nowhere.md \"title\")", "README.md:3: there is no nowhere.md"),
    ("![a](docs/two.png)", "README.md:1: there is no docs/two.png"),
    ("[a][b]\n\n[b]: nowhere.md", "README.md:3: there is no nowhere.md"),
    ("[a](docs/other.md#no-heading)", "README.md:1: there is no heading docs/other.md#no-heading"),
    ("[a](docs/other.md#twise)", "README.md:1: there is no heading docs/other.md#twise; did you mean #twice?"),
    ("[a](docs/)", "README.md:1: docs/ is a folder, which a site does not show; link to a page in it"),
    ("[a](../elsewhere.md)", "README.md:1: ../elsewhere.md leads out of this folder"),
]  # fmt: skip


@pytest.mark.parametrize(("page", "found"), MARKDOWN)
def test_links_of_markdown(links: ModuleType, tmp_path: Path, page: str, found: str | None) -> None:
    root = tmp_path / "root"
    (root / "docs").mkdir(parents=True)
    (tmp_path / "elsewhere.md").write_text("")
    (root / "docs" / "other.md").write_text(OTHER)
    (root / "docs" / "one.png").write_bytes(b"")
    (root / "README.md").write_text(page + "\n")

    assert list(links.problems(root, links.PAGES)) == ([found] if found else [])


def test_links_of_a_site(links: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "index.html").write_text(
        '<h1 id="top">One</h1> <a href="docs/">sound</a> <a href="other.html">dead</a>'
    )
    page = '<script src="/one.js"></script>\n<a href="../index.html#top">sound</a>\n<a href="../index.html#bottom">dead</a>'
    (tmp_path / "docs" / "index.html").write_text(page)

    assert list(links.problems(tmp_path, ("**/*.html",))) == [
        "docs/index.html:1: there is no /one.js",
        "docs/index.html:3: there is no heading ../index.html#bottom",
        "index.html:1: there is no other.html",
    ]
