"""HTTP requests that end with an answer or with a reason: credentials, redirects, and another try where that helps."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from urllib3 import BaseHTTPResponse, HTTPResponse

import connrunner
from connrunner.connectors import Settings
from connrunner.connectors.http.auth import Credentials, credentials, sound
from connrunner.connectors.http.data import words
from connrunner.connectors.http.http_date import parse_http_date
from connrunner.connectors.http.url import HttpAddress, check_step, parse
from connrunner.connectors.http.wire import BrokenError, ConnectionPool
from connrunner.core.report import Report
from connrunner.errors import RunError
from connrunner.text import durations
from connrunner.text.masking import Masker
from connrunner.text.nesting import MAX_VALUES, TooManyValuesError, parse_json
from connrunner.text.redaction import LONGEST_READ, redact_partner_words
from connrunner.text.secret_parts import SHORTEST
from connrunner.text.unpacking import limit_size
from connrunner.text.words import one_line

SILENCE = "60s"  # that a server may send nothing
RETRIES = 4
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0  # seconds; each wait is a random part of one that doubles
LONGEST_ASKED_WAIT = 300.0  # seconds; a server that asks for more has the run end
REDIRECTS = 5
LARGEST_JSON = 64 << 20  # bytes of one answer that is read as a stream
LARGEST_SMALL_JSON = 16 << 20  # bytes of one answer that is in memory as a whole
LARGEST_ERROR = 64 << 10  # bytes of an answer that says what is wrong
LONGEST_REASON = 80  # characters of the word for a status
CHUNK = 1 << 16

AGAIN = (408, 429, 502, 503, 504)
MOVED = (301, 302, 303, 307, 308)
RESERVED = ("host", "content-length", "transfer-encoding", "connection", "accept-encoding", "idempotency-key")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# A float would change the digits of an amount; those who read the rows take text as well.
_loads = partial(json.loads, parse_float=str, parse_constant=str)

T = TypeVar("T")


class Response:
    """What a server answered. The body is read once, by one of the methods."""

    def __init__(self, response: BaseHTTPResponse, address: HttpAddress, wire: ConnectionPool) -> None:
        self.status = response.status
        self.reason = response.reason or ""  # the server's word for its status, which it may leave out
        self.headers: Mapping[str, str] = response.headers
        self.address = address  # after redirects
        self._response, self._wire = response, wire

    def chunks(self, limit: int) -> Iterator[bytes]:
        """Yield the body, decompressed; BrokenError when it breaks off.

        RunError beyond *limit* bytes, and when it was compressed to so little that it may be made to fill the disk.
        """
        size = 0
        is_packed = self.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity")
        with self._wire.translate_errors(self.address):
            for chunk in self._response.stream(CHUNK, decode_content=True):
                size += len(chunk)
                if size > limit:
                    raise RunError(
                        f"{self.address} answers with more than {limit:,} bytes",
                        hint="ask for less at once",
                        code="too-large",
                    )
                if is_packed and size > limit_size(self._arrived()):
                    raise RunError(
                        f"{self.address} answers with {self._arrived():,} bytes that unpack to more than {size:,}",
                        hint="they may be made to fill the disk, so nothing was read; have them sent in parts or plain",
                        code="too-large",
                    )
                yield chunk

    def _arrived(self) -> int:
        """Return how many bytes of the body arrived, compressed; 0 of one in chunks, which nobody counts."""
        return self._response.tell() if isinstance(self._response, HTTPResponse) else 0

    def json_chunks(self) -> Iterator[bytes]:
        """Yield the body of an answer with records, as `chunks` does."""
        return self.chunks(LARGEST_JSON)

    def json(self) -> Any:
        """Return the data of a body that is not large, numbers with decimals as written; None for no body."""
        content = b"".join(self.chunks(LARGEST_SMALL_JSON))
        if not content.strip():
            return None
        try:
            return parse_json(content, _loads, most_values=MAX_VALUES)
        except TooManyValuesError as error:
            raise RunError(
                f"the answer of {self.address} is too large: {error}", hint="ask for less at once", code="too-large"
            ) from None
        except ValueError:
            raise self.not_json() from None

    def not_json(self, reason: str = "") -> RunError:
        """Return the error for a body that should be JSON, and is none for a *reason*."""
        kind = self.headers.get("Content-Type", "no type").partition(";")[0]
        because = f" ({reason})" if reason else ""
        return RunError(
            f"the answer of {self.address} is not JSON{because}; it calls itself {one_line(kind, 80)}",
            hint="see that `url` is that of the API",
            code="bad-answer",
        )

    def start(self, limit: int = LARGEST_ERROR) -> bytes:
        """Return the first *limit* bytes of a body of which any part will do."""
        content = bytearray()
        with suppress(BrokenError), self._wire.translate_errors(self.address):
            for chunk in self._response.stream(CHUNK, decode_content=True):
                content += chunk
                if len(content) >= limit:
                    break
        return bytes(content[:limit])

    def pass_over(self) -> None:
        """Read a body that says nothing, so that its connection can be used again; a long one is cut off."""
        with suppress(BrokenError), self._wire.translate_errors(self.address):
            for _ in islice(self._response.stream(CHUNK, decode_content=False), LARGEST_ERROR // CHUNK):
                pass

    def close(self) -> None:
        self._response.close()


class Client:
    """Asks the server at *address*, with the headers and credentials of the settings; no other server gets those."""

    def __init__(
        self,
        settings: Settings,
        address: HttpAddress,
        report: Report,
        *,
        secrets: Collection[str] = (),
        authorities: Path | None = None,
        sign_in: Credentials | None = None,  # in place of what `auth` says
    ) -> None:
        self.address = address
        self._secrets = secrets  # that requests carry without the settings saying so
        self._settings, self._report = settings, report
        self._retries = int(settings.get("retries", RETRIES))
        self._listed = {str(host).lower() for host in settings.get("redirect_hosts", ())}
        self._headers = _headers(settings.get("headers", {}), authorized="auth" in settings)
        self._credentials = sign_in or (credentials(settings["auth"], self._token) if "auth" in settings else None)
        self._wire = ConnectionPool(
            silence=float(durations.parse(str(settings.get("timeout", SILENCE)))),
            allow_link_local=settings.get("allow_link_local") is True,
            authorities=authorities,
        )
        self._authorities = authorities

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._wire.close()

    def ask(
        self,
        method: str,
        address: HttpAddress,
        take: Callable[[Response], T],
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        accept: Callable[[int], bool] = lambda status: False,  # noqa: ARG005
        rows: Sequence[bytes] = (),
    ) -> T:
        """Return what *take* makes of the answer: one with a status of success, or one that *accept* says yes to.

        Any other is a RunError with the server's own words, without values of the *rows* (JSON) in *body*. A request
        that failed for a reason that may pass is sent again, the same; *take* then starts anew, so it must be able to.
        """
        tried, renewed = 0, False
        while True:
            authorization = {"Authorization": self._credentials.header()} if self._credentials else {}
            asked: float | None = None
            try:
                answer = self._follow(method, address, headers or {}, authorization, body)
                try:
                    if 200 <= answer.status < 300 or accept(answer.status):
                        return take(answer)
                    if answer.status == 401 and self._credentials and not renewed and self._credentials.renew():
                        renewed = True
                        continue
                    problem = self.refusal(answer, rows)
                    if answer.status not in AGAIN:
                        raise problem
                    asked = _asked_wait(answer.headers.get("Retry-After", ""))
                finally:
                    answer.close()
            except BrokenError as error:
                problem = error
            if tried >= self._retries:
                raise _given_up(problem, tried + 1)
            tried += 1
            self._wait(problem, tried, asked)

    def step(self, origin: HttpAddress, link: str) -> HttpAddress:
        """Return where *link*, found in an answer of *origin*, leads; RunError when a request must not go there."""
        to = origin.joined(link)
        check_step(origin, to, listed=self._listed, word="leads on")
        return to

    def refusal(self, answer: Response, rows: Sequence[bytes] = ()) -> RunError:
        """Return the error that *answer*, to a request with *rows*, amounts to."""
        status = answer.status
        text = f"{answer.address} answers {self.describe_answer(answer, answer.start(), rows)}"
        for statuses, code, hint in (
            ((401,), "unauthorized", "check `auth`, and whether its secret has run out"),
            ((403,), "forbidden", "give these credentials the right to it, or use others under `auth`"),
            ((404, 410), "not-found", "correct `url`"),
            ((429,), "throttled", "let it run less often, or ask its owner for a higher limit"),
            (range(500, 600), "server-error", "ask the owner of the server"),
        ):
            if status in statuses:
                return RunError(text, hint=hint, code=code, waiting_helps=status == 429 or status >= 500)
        return RunError(text, hint="see what the server wants", code="refused", waiting_helps=status in AGAIN)

    def describe_answer(self, answer: Response, content: bytes, rows: Sequence[bytes] = ()) -> str:
        """Return the status of *answer* with what its body, *content*, says about it, and about *rows*."""
        said = self.mask_text(_message(content), rows)
        return f"{self._status(answer, rows)}{': ' if said else ''}{said}"

    def mask_text(self, text: str, rows: Sequence[bytes] = ()) -> str:
        """Return *text*, which a partner wrote, fit for a message: one short line.

        It holds none of our secrets, however they are spelled, no values of the *rows* that were sent, no addresses.
        """
        secrets = {*self._secrets, *self._headers.values(), *map(str, self._settings.get("query", {}).values())}
        if self._credentials:
            secrets |= self._credentials.secrets()
        masker = Masker(secret for secret in secrets if len(secret) >= SHORTEST)
        return one_line(redact_partner_words(masker.mask(text[:LONGEST_READ]), rows), 300)

    def _status(self, answer: Response, rows: Sequence[bytes] = ()) -> str:
        """Return the status of *answer* as the server calls it: Python's own words for it differ with its version."""
        return f"{answer.status} {one_line(self.mask_text(answer.reason, rows), LONGEST_REASON)}".rstrip()

    def _follow(
        self,
        method: str,
        address: HttpAddress,
        headers: Mapping[str, str],
        authorization: Mapping[str, str],
        body: bytes | None,
    ) -> Response:
        """Send the request, and again to where the answer says; our headers and credentials to our own server only."""
        common = {"User-Agent": f"connrunner/{connrunner.__version__}", "Accept-Encoding": "gzip"}
        here = address
        for _ in range(REDIRECTS + 1):
            own = {**self._headers, **authorization} if here.is_of(self.address) else {}
            response = self._wire.send(method, here, _merged(common, headers, own), body)
            answer = Response(response, here, self._wire)
            link = answer.headers.get("Location")
            if answer.status not in MOVED or link is None:
                return answer
            answer.close()
            to = here.joined(link)
            check_step(here, to, listed=self._listed, word="redirects")
            if method != "GET" and answer.status not in (307, 308):
                raise RunError(
                    f"{here} has moved to {to}, says its answer {self._status(answer)}",
                    hint="write that address into `url`",
                    code="bad-redirect",
                )
            here = to
        raise RunError(f"{address} redirects more than {REDIRECTS} times", hint="correct `url`", code="bad-redirect")

    def _token(self, headers: Mapping[str, str], form: bytes) -> Any:
        """Ask the server of the tokens, which is another one: nothing but the form and its headers goes there."""
        auth = self._settings["auth"]
        address = parse(str(auth["url"]))
        secrets = [auth["client_secret"], headers.get("Authorization", "").partition(" ")[2]]
        own = {name: self._settings[name] for name in ("retries", "timeout") if name in self._settings}
        with Client(own, address, self._report, secrets=secrets, authorities=self._authorities) as client:
            return client.ask("POST", address, Response.json, headers=headers, body=form)

    def _wait(self, problem: RunError, tried: int, asked: float | None) -> None:
        if asked is not None and asked > LONGEST_ASKED_WAIT:
            raise RunError(
                f"{problem.message}; it asks to wait {asked:,.0f} s, and a run waits {LONGEST_ASKED_WAIT:g} s at most",
                hint=problem.hint,
                code=problem.code,
                waiting_helps=True,
            )
        # Full jitter: clients that failed together do not come back together.
        wait = random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2 ** (tried - 1)))  # noqa: S311
        wait += asked or 0.0
        self._report.message(
            f"{problem.message}; try {tried + 1} of {self._retries + 1} in {wait:.1f} s", level="warning"
        )
        time.sleep(wait)


def _headers(headers: Mapping[str, Any], *, authorized: bool) -> dict[str, str]:
    """Return the headers of the settings; RunError for one that cannot be sent, or is not the owner's to choose."""
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise RunError(f"{name!r} is not the name of a header", hint="correct `headers`", code="bad-setting")
        if name.lower() in RESERVED or (authorized and name.lower() == "authorization"):
            reason = "it comes from `auth`" if name.lower() == "authorization" else "connrunner sets it"
            raise RunError(f"the header {name} cannot be set: {reason}", hint="leave it out", code="bad-setting")
        sound(name, str(value))
    return {name: str(value) for name, value in headers.items()}


def _merged(*parts: Mapping[str, str]) -> dict[str, str]:
    """Return all headers; of those with the same name, whatever its letters, the last one."""
    return dict({name.lower(): (name, value) for part in parts for name, value in part.items()}.values())


def _asked_wait(value: str) -> float | None:
    """Return the seconds that `Retry-After` asks for: a number, or an HTTP date (RFC 9110, 10.2.3)."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    until = parse_http_date(value)
    return None if until is None else max(0.0, (until - datetime.now(UTC)).total_seconds())


def _given_up(problem: RunError, times: int) -> RunError:
    if times == 1:
        return problem
    more = {"hint": problem.hint, "code": problem.code}
    message = f"{problem.message} (tried {times} times)"
    if isinstance(problem, BrokenError):
        return BrokenError(message, **more)
    return RunError(message, waiting_helps=True, **more)


def _message(content: bytes) -> str:
    """Return what an answer says about its refusal, or an empty text when that is not meant for reading."""
    text = content.decode("utf-8", "replace").strip()
    try:
        data = parse_json(text, most_values=MAX_VALUES)
    except ValueError:
        return "" if text.startswith("<") else text
    return words(data)
