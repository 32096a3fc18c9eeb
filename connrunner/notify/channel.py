"""
What is told elsewhere than by mail: chats, pagers, webhooks, by the library Apprise.

It works in a process of its own with a time-out: its many services bring their own networking, and none of it may keep
a mail waiting. Needs the extra: pip install 'connrunner[apprise]'.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable

from connrunner.core.alerts.notice import Event
from connrunner.errors import RunError
from connrunner.notify import clean_environment
from connrunner.notify.render import RenderedMessage
from connrunner.notify.sanitize import clean_line
from connrunner.notify.transport import DeliveryResult
from connrunner.processes.limits import forbid_core_dumps
from connrunner.text.nesting import parse_json

PREFIX = "apprise:"  # of a recipient; a reference to the secret URL follows, which is no secret itself
PATIENCE = 15.0  # seconds for one recipient
SHORTEST = 6  # characters of a part of a URL that is kept out of every text
KEPT = (  # of the environment: the rest may hold secrets
    *("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
KINDS = {"succeeded": "success", "recovered": "success", "partial": "warning", "late": "warning", "digest": "info"}
KINDS |= {"stopped": "info", "folded": "warning", "fixed": "success", "attention": "warning"}
KINDS |= {"held": "warning", "declined": "info"}

Reveal = Callable[[str], str]  # from a reference to its secret; RunError when there is none
Hide = Callable[[list[str], str], str]  # a text without secrets


def is_channel(recipient: str) -> bool:
    """True for a recipient that is no mailbox."""
    return recipient.startswith(PREFIX)


def send_to_channel(
    recipient: str, rendered: RenderedMessage, event: Event, *, reveal: Reveal, hide: Hide, patience: float = PATIENCE
) -> DeliveryResult:
    """Tell *recipient*, within *patience* seconds; whatever goes wrong can be repaired, and is tried again."""
    try:
        url = reveal(recipient.removeprefix(PREFIX)).strip()
    except RunError as error:
        return DeliveryResult(result="deferred", reason=str(error))
    request = {"url": url, "title": rendered.subject, "body": rendered.chat, "kind": KINDS.get(event, "failure")}
    reason = _ask(request, min(patience, PATIENCE))
    if not reason:
        return DeliveryResult(result="sent")
    return DeliveryResult(result="deferred", reason=clean_line(hide(_secrets(url), reason), 300))


def _secrets(url: str) -> list[str]:
    """The whole URL, and its parts that may come alone: tokens, passwords, the names of hooks."""
    parts = re.split(r"[:/?&=@#]+", url)[1:]
    return [url, *(part for part in parts if len(part) >= SHORTEST)]


def _ask(request: dict[str, str], patience: float) -> str:
    """Return why it did not work, in the words of the process; an empty text when it did."""
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "connrunner.notify.channel"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=clean_environment.clean_environment(KEPT),
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        return f"the process that tells channels cannot start: {error.strerror or error}"
    with process:
        try:
            output, _ = process.communicate(json.dumps(request).encode(), timeout=patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return f"no answer within {patience:.0f} s"
    try:
        answer = parse_json(output)
        return str(answer["reason"])
    except (ValueError, KeyError, TypeError):
        return f"the process that tells channels ended with status {process.returncode}"


# --- the process -------------------------------------------------------------------------------------------------


def _tell(request: dict[str, str]) -> str:
    """Return why Apprise could not tell; an empty text when it could."""
    try:
        import apprise
    except ImportError:
        return "channels need the extra `apprise`: pip install 'connrunner[apprise]'"
    import logging

    heard: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    logger = logging.getLogger("apprise")
    logger.addHandler(Ear(logging.WARNING))
    logger.propagate = False
    service = apprise.Apprise()
    if not service.add(request["url"]):
        return "the secret is no URL that Apprise knows; see https://appriseit.com for those of each service"
    done = service.notify(
        title=request["title"],
        body=request["body"],
        body_format=apprise.NotifyFormat.TEXT,
        notify_type=getattr(apprise.NotifyType, request["kind"].upper()),
    )
    return "" if done else " ".join(heard) or "the service did not take it"


def main() -> None:
    """Tell what stands on standard input; say on standard output why it did not work."""
    forbid_core_dumps()
    begun = time.monotonic()
    try:
        reason = _tell(json.load(sys.stdin))
    except Exception as error:  # of one of a hundred services: told, never raised
        reason = f"Apprise failed after {time.monotonic() - begun:.0f} s: {type(error).__name__}: {error}"
    sys.stdout.write(json.dumps({"reason": reason}))


if __name__ == "__main__":
    main()
