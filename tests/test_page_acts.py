"""What a person does on the page, with a real server, a real tick and Debian's Chromium: run now, watch, stop, download."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Place
from tests.page_workspace import make_workspace
from tests.test_page_browser import CHROMIUM, browser
from tests.test_web_server import served

__all__ = ["browser"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.thorough,
    pytest.mark.real_clock,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is missing (Debian: apt-get install chromium)"),
]
PATIENCE = 120_000  # milliseconds
# It says a line for each file that is laid before it, and works until it is stopped.
PROGRAM = """
import pathlib, time
said = 0
while True:
    while pathlib.Path(f'say-{said}').exists():
        print(f'line {said} & <b>', flush=True)
        said += 1
    time.sleep(0.05)
"""


@pytest.fixture
def slow(place: Place) -> Place:
    place.command("slow", PROGRAM)
    (place.folder / "say-0").touch()
    return place


@pytest.fixture
def tick(slow: Place) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Ticks that a test starts; none of them stays."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for one in started:
        one.terminate()
        one.wait()


@pytest.mark.parametrize("script", [True, False])
def test_run_now_watch_stop_and_download(
    slow: Place, browser: Any, tick: list[subprocess.Popen[bytes]], tmp_path: Path, script: bool
) -> None:
    with served(slow) as (_, port):
        context = browser.new_context(java_script_enabled=script, accept_downloads=True)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{port}/connections/slow")
        page.get_by_role("button", name="Run now").click()
        page.wait_for_url("**/connections/slow?asked=*")

        tick.append(subprocess.Popen([sys.executable, "-m", "connrunner", "tick"], cwd=slow.folder))
        run = f"http://127.0.0.1:{port}/connections/slow/runs/1"
        wait_until(page, run, "line 0 & <b>")
        (slow.folder / "say-1").touch()
        if script:  # the line comes by itself, to the page as it is
            page.locator(".log").get_by_text("line 1 & <b>").wait_for()
        else:
            wait_until(page, run, "line 1 & <b>")

        page.locator("details.ask > summary", has_text="Stop run").first.click()
        page.locator("details.ask[open] input[name=reason]").fill("wrong day")
        page.get_by_role("button", name="Stop run: slow #1").click()
        page.wait_for_url("**?asked=*")
        wait_until(page, run, "stopped")
        assert "wrong day" in page.locator("main").inner_text()

        with page.expect_download() as caught:
            page.get_by_role("link", name="Download log").first.click()
        text = Path(caught.value.path()).read_text()
        assert "line 0 & <b>" in text
        assert "line 1 & <b>" in text
        context.close()
    (ended,) = slow.runs("slow")
    assert (ended["outcome"], ended["run"]) == ("stopped", 1)


def wait_until(page: Any, address: str, words: str) -> None:
    """Load the page at *address* until it says *words*."""
    for _ in range(PATIENCE // 500):
        page.goto(address)
        if words in page.locator("main").inner_text():
            return
        page.wait_for_timeout(500)
    raise AssertionError(page.locator("main").inner_text())


def test_a_mail_that_was_given_up_is_sent_again(tmp_path: Path, browser: Any) -> None:
    place = Place(make_workspace(tmp_path / "customer-profiles"))
    with served(place) as (_, port):
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/notifications")
        given_up = page.locator("tr", has=page.locator("td[data-l=State]", has_text="given up"))
        before = given_up.count()
        assert before > 0
        given_up.first.get_by_role("button", name="Retry").click()
        page.wait_for_url("**?asked=*")
        assert given_up.count() == before - 1
        page.close()
    assert len([one for one in place.journal() if one.get("type") == "retried"]) == 1
