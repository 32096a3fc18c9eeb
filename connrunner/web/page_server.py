"""The process that serves the page: where it listens, what it logs, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn

from connrunner.errors import ArgumentError
from connrunner.text.hosts import is_loopback, split_listen
from connrunner.web.application import make_application
from connrunner.web.connection_limits import IDLE, LARGEST_HEAD, BoundedProtocol
from connrunner.web.live_view import LiveView
from connrunner.web.site import Site, is_reachable, read_tokens

BACKLOG = 256  # connections that the kernel holds until they are taken
GRACE = 5  # seconds that answers at work have when the page is told to end
M_TRIM_THRESHOLD, M_ARENA_MAX = -1, -8  # mallopt(3)
FREE_AT_END = 128 << 10  # bytes
WAYS = "name `web.tokens` or `web.proxy` in connrunner.yaml, or listen on 127.0.0.1"


def serve_page(
    folder: Path, state: Path | None, *, listen: str | None, with_access_log: bool, say: Callable[[str], None]
) -> None:
    """Serve the page of the workspace in *folder* until SIGTERM or SIGINT; *say* is told where it is.

    ArgumentError when *listen*, or what connrunner.yaml says, cannot be listened on, or would let anybody in.
    """
    _bound_allocator()
    live = LiveView(folder, state)
    address = listen or live.settings.listen
    listener = open_listener(address, live)
    site = Site(live, is_open=is_reachable(address))
    host, port = listener.getsockname()[:2]
    say(f"http://{f'[{host}]' if ':' in host else host}:{port}{live.settings.root}/")
    _log_to_stderr(with_access_log=with_access_log)
    config = uvicorn.Config(
        make_application(site),
        http=BoundedProtocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=GRACE,
        h11_max_incomplete_event_size=LARGEST_HEAD,
        backlog=BACKLOG,
    )
    PageServer(config, site).run(sockets=[listener])


class PageServer(uvicorn.Server):
    """A server that ends with 0 when it is told to end, and whose streams end with it."""

    def __init__(self, config: uvicorn.Config, site: Site) -> None:
        super().__init__(config)
        self._site = site

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT for the order to end."""
        loop = asyncio.get_running_loop()
        for order in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(order, self.handle_exit, order, None)
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: logs that are watched are let go first."""
        self._site.stopping.set()
        await super().shutdown(sockets)


def open_listener(address: str, live: LiveView) -> socket.socket:
    """Return the socket that listens on *address*; ArgumentError when it must not, or cannot."""
    settings = live.settings
    try:
        host, port = split_listen(address)
    except ValueError as error:
        raise ArgumentError(str(error), hint="write it like 127.0.0.1:8080") from None
    tokens, trouble = read_tokens(settings, live.folder)
    names_tokens = bool(settings.read_token or settings.act_token)
    if not is_loopback(host) and live.is_settled and not (tokens or settings.proxies):
        if names_tokens:
            raise ArgumentError(f"the page cannot be served on {address}: {trouble}", hint="see `web.tokens`")
        reached = f"{address} can be reached from other machines, and nothing says who may see the page"
        raise ArgumentError(reached, hint=WAYS)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    _raise_limit()
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ArgumentError(
            f"the page cannot listen on {address}: {error.strerror}", hint="name another port with --listen"
        ) from None


def _bound_allocator() -> None:
    """Let memory that an answer needed go back to the kernel, and threads share what stays; a C library may refuse.

    glibc gives each thread a heap of its own, and keeps more and more free at its end: a fifth of what the page takes.
    """
    with contextlib.suppress(OSError, AttributeError):  # no glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_ARENA_MAX, 1)
        mallopt(M_TRIM_THRESHOLD, FREE_AT_END)


def _raise_limit() -> None:
    """Allow as many open files as this process may have: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(4096, hard) if hard != resource.RLIM_INFINITY else 4096
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _log_to_stderr(*, with_access_log: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    ours = logging.getLogger("connrunner.web")
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    logging.getLogger("connrunner.web.access").disabled = not with_access_log
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(logging.ERROR)
        logging.getLogger(name).propagate = False
