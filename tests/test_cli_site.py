"""`connrunner site`: complete, linkable files; written aside, then put in their place."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from connrunner.answers.workspace_view import open_view
from connrunner.cli.site import MARK, write_site
from connrunner.errors import ArgumentError
from tests.conftest import Place
from tests.page_workspace import NOW, make_workspace
from tests.test_pages import Outline


def broken_links(root: Path) -> list[str]:
    """Return the links of a site that lead to no file, or to no place on its page."""
    pages = {path: Outline(path.read_text()) for path in root.rglob("*.html")}
    found = []
    for path, outline in pages.items():
        for tag, attributes in outline.elements:
            for key in ("href", "src", "action", "formaction"):
                parts = urlsplit(attributes.get(key, ""))
                if tag == "use" or parts.scheme or not attributes.get(key):
                    continue
                target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
                if not target.is_file() or not target.is_relative_to(root):
                    found.append(f"{path.name}: {attributes[key]}")
                elif parts.fragment and unquote(parts.fragment) not in pages[target].values("id"):
                    found.append(f"{path.name}: {attributes[key]} has no such place")
    return found


@pytest.mark.slow
@pytest.mark.thorough
def test_every_link_of_a_site_leads_to_a_file(tmp_path: Path) -> None:
    folder = make_workspace(tmp_path / "workspace")
    site = tmp_path / "site"
    count = write_site(open_view(folder, now=NOW), site, runs=2)
    assert count == len(list(site.rglob("*.html"))) > 50
    assert broken_links(site.resolve()) == []
    whole = "".join(path.read_text() for path in site.rglob("*.html"))
    assert "<form" not in whole
    assert "<button" not in whole
    assert "<script" not in whole
    assert "data-live" not in whole


def test_a_site_is_written_anew_in_its_place(place: Place) -> None:
    place.command("hello", "print('hello')")
    said = place.run("site", "out/site")
    assert "pages in out/site" in said.out
    site = place.folder / "out" / "site"
    (site / "old.html").write_text("gone soon")
    place.run("site", "out/site")
    assert not (site / "old.html").exists()
    assert sorted(path.name for path in site.parent.iterdir()) == ["site"], "nothing is left beside it"
    assert (site / "connections/hello.html").is_file()
    assert (site / MARK).is_file()


def test_files_of_others_are_not_replaced(place: Place) -> None:
    place.write("mine/notes.txt", "dear to me")
    said = place.run("site", "mine", check=2)
    assert "holds files that are not of a site" in said.err
    assert (place.folder / "mine/notes.txt").read_text() == "dear to me"


def test_an_empty_folder_is_taken(place: Place) -> None:
    (place.folder / "public").mkdir()
    place.run("site", "public")
    assert (place.folder / "public/index.html").is_file()


def test_a_file_in_the_way_is_no_folder(place: Place) -> None:
    file = place.write("taken", "a file")
    with pytest.raises(ArgumentError):
        write_site(open_view(place.folder), file / "site", runs=1)
    assert file.read_text() == "a file"


def test_a_failure_leaves_the_old_site_as_it_was(place: Place) -> None:
    place.run("site", "public")
    before = (place.folder / "public/index.html").read_text()
    (place.folder / ".connrunner").mkdir(exist_ok=True, mode=0o700)
    (place.folder / ".connrunner/format").write_text("99\n")
    assert "newer connrunner" in place.run("site", "public", check=None).err
    assert (place.folder / "public/index.html").read_text() == before
    assert [path.name for path in place.folder.iterdir() if path.name.startswith("public.")] == []
