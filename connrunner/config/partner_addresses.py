"""Addresses of partners in YAML: by the rules that hold when they are asked, so that nobody waits for the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from connrunner.config import secret_words
from connrunner.config.finding import Finding, Path
from connrunner.text import database_urls
from connrunner.text.hosts import is_link_local, is_loopback
from connrunner.text.words import one_line


def check_addresses(settings: Mapping[str, Any], path: Path) -> Iterator[Finding]:
    """Yield why the addresses in the *settings* of a connector cannot be asked."""
    match settings.get("type"):
        case "http":
            allows = settings.get("allow_link_local") is True
            yield from check_request_url(settings.get("url"), (*path, "url"), allow_link_local=allows)
            auth = settings.get("auth")
            if isinstance(auth, dict):
                yield from check_request_url(auth.get("url"), (*path, "auth", "url"), allow_link_local=allows)
        case "salesforce":
            url = settings.get("login_url")
            is_host = isinstance(url, str) and "://" not in url and not secret_words.is_reference(url)
            yield from check_request_url(f"https://{url}" if is_host else url, (*path, "login_url"))
        case "s3":
            yield from check_request_url(settings.get("endpoint_url"), (*path, "endpoint_url"), allow_link_local=True)
        case "meta":
            yield from check_request_url(settings.get("graph_url"), (*path, "graph_url"))
        case "sql":
            yield from _of_database(settings.get("url"), (*path, "url"))


def check_request_url(url: Any, path: Path, *, allow_link_local: bool = False) -> Iterator[Finding]:
    """Yield why no request may go to *url*: without TLS only to this machine, and never to link-local addresses."""
    if not isinstance(url, str) or secret_words.is_reference(url):
        return
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if not host or port == 0:
        message = f"`{path[-1]}` has no host, or no port that there can be"
        yield Finding(path, message, "is it written right?", "bad-url")
    elif parts.scheme == "http" and not is_loopback(host):
        message = f"http:// to {one_line(host, 100)} would send everything readable to everybody on the way"
        hint = "write https://; without TLS only this machine (localhost, 127.0.0.1) can be asked"
        yield Finding(path, message, hint, "no-tls")
    elif not allow_link_local and is_link_local(host):
        message = f"`{path[-1]}` leads to {one_line(host, 100)}, where clouds tell a machine its credentials"
        yield Finding(path, message, "correct it", "link-local")


def _of_database(url: Any, path: Path) -> Iterator[Finding]:
    if not isinstance(url, str) or secret_words.is_reference(url) or secret_words.has_credentials(url):
        return
    found = database_urls.parse_database_url(url)
    flaw = database_urls.find_flaw(found) if found else None
    if flaw:
        yield Finding(path, flaw.message, flaw.hint, flaw.code)
