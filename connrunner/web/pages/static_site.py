"""The reading pages as files: each is rendered once, and leads to the others by relative addresses.

Which pages there are follows from the links of the pages, from the list of connections on.
"""

from __future__ import annotations

import functools
import hashlib
import posixpath
import re
from collections.abc import Iterator
from urllib.parse import quote

from connrunner.answers.run_history import list_ended
from connrunner.answers.run_log import find_running
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.web.pages.rendering import static_files
from connrunner.web.pages.request import PageRequest
from connrunner.web.pages.screens import render_screen

RUNS = 30  # of each connection that have a page
STATIC = "static"
_RUN = re.compile(r"/connections/([^/]+)/runs/(\d+)")
_PLAIN = re.compile(r"[a-z0-9-]{1,40}")

Address = tuple[str, tuple[tuple[str, str], ...]]  # path, and its query in order


@dataclass(kw_only=True)
class SitePlan:
    """Which pages there are to render, and which runs have one."""

    view: WorkspaceView
    runs: int
    open: list[Address] = field(default_factory=list)
    known: set[Address] = field(default_factory=set)

    def add(self, address: Address) -> None:
        """Have *address* rendered, once."""
        if address not in self.known:
            self.known.add(address)
            self.open.append(address)

    def holds(self, path: str) -> bool:
        """Tell whether the page *path* is part of the site: of runs only the newest are."""
        found = _RUN.fullmatch(path)
        return found is None or int(found[2]) in self._numbers(found[1])

    @functools.cache  # noqa: B019 - as long as the plan lives
    def _numbers(self, name: str) -> frozenset[int]:
        ended = (run.run for run in list_ended(self.view, name, limit=self.runs))
        running = find_running(self.view, name)
        return frozenset((*ended, *([running] if running else [])))

    def __hash__(self) -> int:
        return id(self)


class SiteLinks:
    """Addresses that are relative to the file *current*; each page that is linked becomes part of the plan."""

    def __init__(self, plan: SitePlan, current: str) -> None:
        self.plan, self.current = plan, current

    def page(self, path: str, **query: object) -> str:
        """Return the way from here to *path*; to its connection for a run that has no page."""
        if not self.holds(path):
            path, query = path.rpartition("/runs/")[0], {}
        asked = tuple(sorted((key, str(value)) for key, value in query.items() if value not in (None, "")))
        self.plan.add((path, asked))
        return self._relative(name_file(path, asked))

    def file(self, name: str) -> str:
        """Return the way from here to a static file."""
        return self._relative(f"{STATIC}/{name}")

    def holds(self, path: str) -> bool:
        """Tell whether *path* has a page."""
        return self.plan.holds(path)

    def _relative(self, target: str) -> str:
        return quote(posixpath.relpath(target, posixpath.dirname(self.current) or "."))


def name_file(path: str, query: tuple[tuple[str, str], ...]) -> str:
    """Return the file of a page. What a query says is in its name, by a hash where it is no plain word."""
    stem = path.strip("/") or "index"
    return "~".join([stem, *(f"{key}-{_plain(value)}" for key, value in query)]) + ".html"


def _plain(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else hashlib.sha256(value.encode()).hexdigest()[:12]


def iter_site(view: WorkspaceView, *, runs: int = RUNS) -> Iterator[tuple[str, bytes]]:
    """Yield each file of the site of *view*, at its instant: its name below the site's folder, and its content.

    ConnrunnerError when the state cannot be read.
    """
    plan = SitePlan(view=view, runs=runs)
    for path in ("/", "/queue", "/timeline", "/notifications", "/health"):
        plan.add((path, ()))
    while plan.open:
        path, query = plan.open.pop()
        name = name_file(path, query)
        request = PageRequest(path=path, query=dict(query), now=view.clock(), may_act=False, live=False)
        yield name, render_screen(view, request, SiteLinks(plan, name)).html.encode()
    for name, content in static_files().items():
        if not name.endswith(".js"):
            yield f"{STATIC}/{name}", content
