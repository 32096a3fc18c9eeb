"""What all requests share: the workspace of now, who may see it, and the threads that answer."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from connrunner.answers.account import read_user_name
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.config.secrets import resolve_secret
from connrunner.core.model import WebSettings
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.text.hosts import is_loopback, split_listen
from connrunner.web.live_view import LiveView
from connrunner.web.peer_account import own_account
from connrunner.web.problem import RefusedError
from connrunner.web.rights import SHORTEST_TOKEN, AccessRules, Right, Visitor

THREADS = 8  # that answer; each has the connections, files and memory of one question
PATIENCE = 30.0  # seconds that a question is waited for
REREAD = 2.0  # seconds for which tokens are not looked up again

Answer = TypeVar("Answer")
log = logging.getLogger("connrunner.web")


class Site:
    """The page of one workspace."""

    def __init__(self, view: LiveView, *, is_open: bool = False) -> None:
        self.live = view
        self.is_open = is_open  # other machines reach it
        self.key = secrets.token_bytes(32)
        self.account_name = read_user_name()
        self.stopping = anyio.Event()
        self.streams = 0
        self._threads: anyio.CapacityLimiter | None = None
        self._rules_lock = threading.Lock()
        self._rules: AccessRules | None = None
        self._rules_at = float("-inf")
        self._warned = ""

    async def ask(self, question: Callable[[], Answer]) -> Answer:
        """Return what *question* does, from a thread; RefusedError when it takes too long, while the thread goes on."""
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(THREADS)
        try:
            with anyio.fail_after(PATIENCE):
                return await anyio.to_thread.run_sync(question, abandon_on_cancel=True, limiter=self._threads)
        except TimeoutError:
            what = f"reading the state takes longer than {PATIENCE:.0f} seconds"
            raise RefusedError(503, what, "try again; `connrunner doctor` looks at its disk") from None

    @property
    def settings(self) -> WebSettings:
        """What connrunner.yaml says of the page."""
        return self.live.settings

    def rules(self) -> AccessRules:
        """Return who may see and act, by the settings and tokens of now."""
        with self._rules_lock:
            if self._rules is None or time.monotonic() - self._rules_at >= REREAD:
                self._rules, self._rules_at = self._read_rules(), time.monotonic()
            return self._rules

    def _read_rules(self) -> AccessRules:
        settings = self.settings
        tokens, trouble = read_tokens(settings, self.live.folder)
        closed = ""
        if (settings.read_token or settings.act_token) and not tokens and not settings.proxies:
            closed = "the tokens of this page cannot be read"
        elif self.is_open and not (tokens or settings.proxies):
            closed = "connrunner.yaml does not say who may see this page"
        if trouble != self._warned:
            self._warned = trouble
            log.warning("%s", trouble or "the tokens can be read again")
        return AccessRules(
            tokens=tokens,
            proxies=settings.proxies,
            user_header=settings.user_header,
            actors=settings.actors,
            account=own_account(),
            key=self.key,
            closed=closed,
        )

    def known_hosts(self) -> tuple[str, ...]:
        """Return the names under which the page is reached, beside addresses."""
        return self.settings.hosts


def read_tokens(settings: WebSettings, folder: Path) -> tuple[dict[Right, str], str]:
    """Return the tokens that can be used, and why one cannot; empty when all can."""
    tokens: dict[Right, str] = {}
    trouble = ""
    references: tuple[tuple[Right, str], ...] = (("read", settings.read_token), ("act", settings.act_token))
    for right, reference in references:
        if not reference:
            continue
        try:
            token = resolve_secret(reference, folder=folder)
        except RunError as error:
            trouble = str(error)
            continue
        if len(token) < SHORTEST_TOKEN:
            trouble = f"the {right} token ({reference}) is too short; write one of {SHORTEST_TOKEN} characters or more"
            continue
        tokens[right] = token
    return tokens, trouble


def is_reachable(listen: str) -> bool:
    """Tell whether other machines reach the address *listen*; ValueError when it is none."""
    return not is_loopback(split_listen(listen)[0])


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One request of somebody who was let in."""

    site: Site
    rules: AccessRules
    reader: Visitor
    view: WorkspaceView
    path: str  # below the root, decoded
    names: dict[str, str]  # the parts of the path that stand for something
    query: dict[str, str]
    accept: str = ""
    last_event: str = ""  # Last-Event-ID
    form: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def root(self) -> str:
        """What stands before every path."""
        return self.site.settings.root

    @property
    def asked_by(self) -> str:
        """Who acts, for records."""
        return f"{self.reader.name or self.site.account_name} on the page"
