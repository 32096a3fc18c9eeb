"""Make the two pictures of the page that README.md shows, light and dark: `python docs/pictures.py`.

They are taken in Debian's Chromium (or any other that is named `chromium`) by Playwright, of a workspace that
tests/page_workspace.py makes up: the same on every machine and on every day, but for the fonts that are there.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from playwright.sync_api import sync_playwright  # noqa: E402

from connrunner.answers.workspace_view import open_view  # noqa: E402
from connrunner.cli.site import write_site  # noqa: E402
from tests.page_workspace import NOW, make_workspace, running_lanes  # noqa: E402

FOLDER = ROOT / "docs" / "pictures"
PICTURES: dict[Literal["light", "dark"], str] = {"light": "index.html", "dark": "timeline.html"}


def main() -> None:
    """Write a picture for each colour scheme."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("Chromium is missing (Debian: apt-get install chromium)")
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temp:
        workspace = make_workspace(Path(temp) / "customer-profiles")
        with running_lanes(workspace):
            write_site(open_view(workspace, now=NOW), Path(temp) / "site", runs=1)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            for scheme, name in PICTURES.items():
                page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme=scheme)
                page.goto((Path(temp) / "site" / name).as_uri())
                page.screenshot(path=FOLDER / f"page-{scheme}.png")
            browser.close()


if __name__ == "__main__":
    main()
