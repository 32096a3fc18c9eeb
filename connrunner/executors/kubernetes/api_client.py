"""
An HTTP client for what is asked of Kubernetes: create, get, list, patch, delete, and the log of a pod.

The library `kubernetes` brings a model of each kind in each version, and hides which errors pass by waiting. Six verbs
are thin: a token, a certificate, JSON; and a tick that comes every minute imports nothing that it does not need.
"""

from __future__ import annotations

import http.client
import json
import ssl
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from connrunner.executors.engine import RejectedError, TransientError
from connrunner.lazy_dataclasses import dataclass
from connrunner.text.hosts import is_loopback
from connrunner.text.nesting import parse_json

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT = 10  # seconds for an answer
LARGEST = 1 << 26  # bytes of an answer
JSON_PATCH = "application/json-patch+json"


class StatusError(Exception):
    """An answer that is no success, for those who know what it means here; its words are the server's."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


@dataclass(frozen=True, kw_only=True)
class ClusterAccess:
    """Where the API server is, and who we are there."""

    server: str  # https://host:port
    namespace: str = "default"
    authority: str = ""  # PEM; empty: those of the system
    token: str = ""
    token_file: Path | None = None  # read anew for each call: it is renewed
    certificate: str = ""  # our certificate and its key, PEM


def in_cluster(environment: Mapping[str, str], *, account: Path = ACCOUNT) -> ClusterAccess | None:
    """Return the access that a pod has by its service account; None outside of a pod."""
    host = environment.get("KUBERNETES_SERVICE_HOST")
    if not host or not (account / "token").exists():
        return None
    host = f"[{host}]" if ":" in host else host
    return ClusterAccess(
        server=f"https://{host}:{environment.get('KUBERNETES_SERVICE_PORT', '443')}",
        namespace=(account / "namespace").read_text().strip(),
        authority=(account / "ca.crt").read_text(),
        token_file=account / "token",
    )


class ApiClient:
    """Asks one API server, over one connection that is kept."""

    def __init__(self, access: ClusterAccess, *, timeout: float = TIMEOUT) -> None:
        parts = urlsplit(access.server)
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
            raise RejectedError(f"{access.server} is not https://", hint="only this machine is asked without TLS")
        self.access, self._parts, self._timeout = access, parts, timeout
        self._prefix = parts.path.rstrip("/")
        self._connection: http.client.HTTPConnection | None = None
        self.calls = 0

    def get(self, path: str, **query: str | int) -> Any:
        return self._json("GET", path, query)

    def create(self, path: str, body: Any) -> Any:
        return self._json("POST", path, {}, body)

    def delete(self, path: str, options: Any) -> Any:
        return self._json("DELETE", path, {}, options)

    def patch(self, path: str, operations: Any) -> Any:
        return self._json("PATCH", path, {}, operations, kind=JSON_PATCH)

    def text(self, path: str, **query: str | int) -> bytes:
        """Return what is no JSON: the log of a pod."""
        return self._call("GET", path, query, None, "application/json")

    def list(self, path: str, **query: str | int) -> list[dict[str, Any]]:
        """Return all items of a collection, page by page. A list that expired meanwhile (410) is begun anew, once."""
        for last in (False, True):
            found: list[dict[str, Any]] = []
            after = ""
            try:
                while True:
                    more = {"continue": after} if after else {}
                    page = self.get(path, limit=500, **query, **more)
                    found += page.get("items") or []
                    after = (page.get("metadata") or {}).get("continue") or ""
                    if not after:
                        return found
            except StatusError as error:
                if error.status != 410 or last:
                    raise TransientError(error.message) from error
        return []

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _json(self, method: str, path: str, query: Mapping[str, Any], body: Any = None, kind: str = "") -> Any:
        data = self._call(method, path, query, body, kind or "application/json")
        try:
            return parse_json(data) if data else {}
        except ValueError as error:
            raise TransientError("its answer is no JSON") from error

    def _call(self, method: str, path: str, query: Mapping[str, Any], body: Any, kind: str) -> bytes:
        """Return the body of a success. StatusError for 404, 409, 410 and other answers that mean something here."""
        target = self._prefix + path + (f"?{urlencode(query)}" if query else "")
        payload = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        headers = {"Accept": "application/json, */*", "Content-Type": kind, "User-Agent": "connrunner"}
        if token := self._token():
            headers["Authorization"] = f"Bearer {token}"
        for last in (False, True):
            fresh = self._connection is None
            connection = self._connection or self._open()
            self._connection = connection
            self.calls += 1
            try:
                connection.request(method, target, payload, headers)
                answer = connection.getresponse()
                data = answer.read(LARGEST + 1)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                # A connection that was kept may have been closed by the other side meanwhile: that says nothing.
                if not fresh and not last and isinstance(error, ConnectionError | http.client.RemoteDisconnected):
                    continue
                raise TransientError(f"{self._parts.netloc} does not answer: {_in_words(error)}") from error
            break
        if len(data) > LARGEST:
            self.close()
            raise TransientError("its answer is too long")
        if answer.status < 300:
            return data
        raise _error_of(answer.status, data)

    def _open(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=self._timeout)
        try:
            context = ssl.create_default_context(cadata=self.access.authority or None)
            if self.access.certificate:
                with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:  # ours alone; ssl reads only files
                    file.write(self.access.certificate)
                    file.flush()
                    context.load_cert_chain(file.name)
        except (OSError, ValueError) as error:
            raise RejectedError(f"its certificate cannot be used: {_in_words(error)}") from error
        return http.client.HTTPSConnection(host, port, timeout=self._timeout, context=context)

    def _token(self) -> str:
        if self.access.token_file is None:
            return self.access.token
        try:
            return self.access.token_file.read_text().strip()
        except OSError as error:
            raise TransientError(f"{self.access.token_file}: {error.strerror}") from error


def _in_words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _error_of(status: int, data: bytes) -> Exception:
    """Return the exception that an answer stands for."""
    said: dict[str, Any] = {}
    with suppress(ValueError):
        parsed = parse_json(data)
        said = parsed if isinstance(parsed, dict) else {}
    message = str(said.get("message") or data[:200].decode(errors="replace") or f"HTTP {status}").strip()
    reason = str(said.get("reason") or "")
    if status == 401:
        return TransientError(f"it does not know us (401): {message}", hint="renew the token or the kubeconfig")
    if status == 403 and "exceeded quota" in message:
        return TransientError(message)
    if status == 403:
        return RejectedError(message, hint="`connrunner doctor --executor` says which rights are missing")
    if status in (400, 404, 409, 410):
        return StatusError(status, reason, message)
    if status == 429 or status >= 500:
        return TransientError(f"HTTP {status}: {message}")
    return RejectedError(f"HTTP {status}: {message}")


def age_in_seconds(stamp: str) -> float:
    """Return how long ago *stamp*, a time of Kubernetes, was by this machine's clock; 0 when it is none."""
    with suppress(ValueError):
        from datetime import datetime

        return max(0.0, time.time() - datetime.fromisoformat(stamp).timestamp())
    return 0.0
