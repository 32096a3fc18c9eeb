"""The page in Debian's Chromium: nothing for axe to find, nothing on the console, no other host; and without script the same."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from connrunner.answers.workspace_view import WorkspaceView, open_view
from connrunner.cli.site import write_site
from connrunner.web.pages import PageRequest, render_page, static_files
from tests.page_workspace import NOW, make_workspace, running_lanes

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.thorough,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is missing (Debian: apt-get install chromium)"),
]
# What a server sends with every page.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
KINDS = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
SCREENS = [
    "/",
    "/queue",
    "/timeline",
    "/notifications",
    "/health",
    "/runs",
    "/connections/crm-contacts",
    "/connections/product-interest",
    "/connections/crm-contacts/runs/1407",
    "/connections/crm-contacts/runs/1408",
    "/connections/erp-customers/runs/109",
    "/connections/crm-contact",
]
WIDTHS = (390, 800, 1400)


def serve(view: WorkspaceView) -> type[http.server.BaseHTTPRequestHandler]:
    """Return what answers with the pages of *view*, as a server of them does."""

    class Pages(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            path = unquote(parts.path)
            if path.startswith("/static/") and (content := static_files().get(path.removeprefix("/static/"))):
                self.answer(200, KINDS[path.rpartition(".")[2]], content)
                return
            asked = dict(parse_qsl(parts.query))
            page = render_page(view, PageRequest(path=path, query=asked, now=NOW, may_act=True, form_token="t"))
            self.answer(page.status, "text/html; charset=utf-8", page.html.encode())

        def answer(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Security-Policy", POLICY)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None: ...

    return Pages


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("page") / "customer-profiles")


@pytest.fixture(scope="module")
def address(workspace: Path) -> Iterator[str]:
    with running_lanes(workspace):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve(open_view(workspace, now=NOW)))
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is missing: pip install -e '.[dev]'")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@functools.cache
def axe() -> str:
    package = pytest.importorskip("axe_playwright_python", reason="axe is missing: pip install -e '.[dev]'")
    return (Path(package.__file__).parent / "axe.min.js").read_text()


RULES = """() => axe.run(document, {runOnly: {type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}})
  .then(found => found.violations.map(one => one.id + ': ' + one.nodes.slice(0, 3).map(node => node.html).join(' ')))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_axe_finds_nothing_and_the_console_is_silent(browser: Any, address: str, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    said: list[str] = []
    hosts: set[str] = set()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    found: dict[str, Any] = {}
    for path in SCREENS:
        page.goto(address + path)
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        page.evaluate(axe())
        found[path] = [*page.evaluate(RULES), *(["wider than the screen"] if wider > 0 else [])]
    context.close()
    assert {path: problems for path, problems in found.items() if problems} == {}
    assert [words for words in said if "404" not in words and "event-stream" not in words] == []
    assert hosts == {urlsplit(address).netloc}


def test_nothing_is_wider_than_the_smallest_screen(browser: Any, address: str) -> None:
    context = browser.new_context(viewport={"width": 320, "height": 700})
    page = context.new_page()
    wide = []
    for path in SCREENS:
        page.goto(address + path)
        if page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") > 0:
            wide.append(path)
    context.close()
    assert wide == []


def test_without_script_the_same_text(browser: Any, address: str) -> None:
    texts = []
    for is_on in (True, False):
        context = browser.new_context(java_script_enabled=is_on)
        page = context.new_page()
        said = []
        for path in SCREENS:
            page.goto(address + path)
            said.append((path, page.locator("main").inner_text()))
        texts.append([one for one in said if one[0] != "/health"])  # the room on the disk changes meanwhile
        context.close()
    assert texts[0] == texts[1]


def test_live_parts_are_swapped_and_what_is_open_stays(browser: Any, address: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(address + "/queue")
    page.evaluate("document.querySelector('[data-live=\"lane-warehouse\"] h2').textContent = 'old'")
    page.locator("#run-crm-contacts summary").click()
    page.evaluate("document.querySelector('[data-live=\"lane-main\"] h2').textContent = 'old'")
    page.evaluate("look()")
    page.wait_for_function(
        "document.querySelector('[data-live=\"lane-warehouse\"] h2').textContent === 'Lane warehouse'"
    )
    assert page.locator('[data-live="lane-main"] h2').inner_text() == "old", "its question is open"
    page.keyboard.press("Escape")
    assert page.locator("#run-crm-contacts details[open]").count() == 0
    context.close()


def test_a_lost_server_is_said(browser: Any, address: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(address + "/queue")
    page.route("**/queue", lambda route: route.abort())
    page.evaluate("look()")
    page.wait_for_selector("text=The server does not answer")
    page.unroute("**/queue")
    page.evaluate("look()")
    page.wait_for_selector("text=The server does not answer", state="detached")
    context.close()


@pytest.mark.usefixtures("address")  # its lanes are held
def test_the_site_works_from_files(browser: Any, workspace: Path, tmp_path: Path) -> None:
    assert write_site(open_view(workspace, now=NOW), tmp_path / "deep" / "site", runs=2) > 50
    context = browser.new_context()
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto((tmp_path / "deep" / "site" / "index.html").as_uri())
    page.click("text=crm-contacts")
    page.click("table.runs th a:text('1407')")
    assert page.locator("h1").inner_text().startswith("Run 1407")
    assert page.locator("form").count() == page.locator("button").count() == page.locator("script").count() == 0
    page.click("nav >> text=Timeline")
    assert page.locator("h1").inner_text() == "Timeline"
    assert said == []
    context.close()
