"""Meta's Graph API over the HTTP client: credentials, waits, and errors that say what they mean."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import quote

from connrunner.connectors import RunContext, Settings
from connrunner.connectors.http import find_authorities
from connrunner.connectors.http.client import Client, Response
from connrunner.connectors.http.url import parse
from connrunner.connectors.http.wire import BrokenError
from connrunner.connectors.meta.graph_errors import GraphError, explain
from connrunner.connectors.meta.usage import LimitUsage
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import replace
from connrunner.text.nesting import MAX_VALUES, parse_json

URL = "https://graph.facebook.com"
VERSION = "v26.0"
PAGE = 200  # audiences of one answer
MOST_PAGES = 500
RETRIES = 4
FIRST_WAIT = 2.0  # seconds after an answer that failed for now; each wait doubles
FIRST_THROTTLE = 60.0  # seconds, when Meta does not say how long
LONGEST_THROTTLE = 1800.0  # seconds of one wait; a run does not wait longer
MOST_THROTTLES = 6  # waits in a row


def is_unknown(error: RunError) -> bool:
    """Return whether a request that ended with *error* may have been done."""
    return isinstance(error, BrokenError) or error.code == "bad-answer" or getattr(error, "is_temporary", False)


class Graph:
    """Asks Meta about what belongs to the ad account of the settings."""

    def __init__(self, settings: Settings, context: RunContext) -> None:
        self.account = f"act_{str(settings['account']).removeprefix('act_')}"
        self._report = context.report
        self._base = parse(f"{str(settings.get('graph_url', URL)).rstrip('/')}/{settings.get('version', VERSION)}")
        self._proof = {}
        self._token = token = str(settings["token"])
        if "app_secret" in settings:
            proof = hmac.new(str(settings["app_secret"]).encode(), token.encode(), hashlib.sha256).hexdigest()
            self._proof = {"appsecret_proof": proof}
        wanted = {name: settings[name] for name in ("timeout",) if name in settings}
        self._client = Client(
            {**wanted, "retries": 0, "auth": {"type": "bearer", "token": token}},
            self._base,
            context.report,
            secrets=[*self._proof.values(), *([str(settings["app_secret"])] if self._proof else [])],
            authorities=find_authorities(settings, context.workspace),
        )
        self.usage = LimitUsage()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.__exit__(kind, error, trace)

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Return what Meta says about *path*; a connection that breaks is tried again."""
        return self.ask("GET", path, query=query)

    def list_audiences(self) -> Iterator[dict[str, Any]]:
        """Yield the audiences of the ad account. The link to the next page holds the token, so the cursor is used."""
        query = {"fields": "id,name,operation_status", "limit": str(PAGE)}
        for _ in range(MOST_PAGES):
            found = self.get(f"{self.account}/customaudiences", **query)
            yield from (one for one in found.get("data") or () if isinstance(one, dict))
            paging = found.get("paging") or {}
            after = (paging.get("cursors") or {}).get("after") if "next" in paging else None
            if not isinstance(after, str):
                return
            query["after"] = after
        raise RunError(
            f"the ad account {self.account} has more than {MOST_PAGES * PAGE:,} audiences",
            hint="write `audience_id` instead of `audience`",
            code="too-large",
        )

    def inspect_token(self) -> Any:
        """Return Meta's answer to a batch request of one question: what the token is. It is asked once."""
        question = {"method": "GET", "relative_url": f"debug_token?input_token={quote(self._token, safe='')}"}
        return self._ask_once("POST", "me", {}, {"batch": [question], "include_headers": False}, (), expected=list)

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        data: Any = None,
        rows: Sequence[bytes] = (),
        is_safe: bool = True,
    ) -> dict[str, Any]:
        """
        Return the data of the answer; GraphError for one that says what is wrong.

        What was refused for now is asked again. When no answer comes, or one that Meta failed, and *is_safe* is false,
        that is the caller's to solve, who gets the error (see `is_unknown`): the request may have been done.
        """
        failures = throttles = 0
        while True:
            self._slow_down()
            try:
                return cast("dict[str, Any]", self._ask_once(method, path, query or {}, data, rows))
            except GraphError as error:
                if error.is_throttled and throttles < MOST_THROTTLES:
                    throttles += 1
                    self._wait_for_calls(error, throttles)
                    continue
                if not error.is_temporary or not is_safe or failures >= RETRIES:
                    raise
                problem: RunError = error
            except BrokenError as error:
                if not is_safe or failures >= RETRIES:
                    raise
                problem = error
            failures += 1
            self._wait(problem, FIRST_WAIT * 2 ** (failures - 1))

    def _ask_once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        data: Any,
        rows: Sequence[bytes],
        *,
        expected: type = dict,
    ) -> Any:
        address = replace(self._base, path=f"{self._base.path.rstrip('/')}/{path}").asking({**query, **self._proof})
        headers = {"Accept": "application/json"}
        body = None
        if data is not None:
            headers["Content-Type"] = "application/json"
            body = data if isinstance(data, bytes) else json.dumps(data, ensure_ascii=False).encode()

        def take(answer: Response) -> Any:
            self.usage.note(answer.headers)
            if 200 <= answer.status < 300:
                found = answer.json()
                if isinstance(found, expected):
                    return found
                raise answer.not_json(f"it is not one {'object' if expected is dict else 'list'}")
            raise self._problem(answer, rows)

        return self._client.ask(method, address, take, headers=headers, body=body, accept=lambda _status: True)

    def _problem(self, answer: Response, rows: Sequence[bytes]) -> RunError:
        content = answer.start()
        try:
            data = parse_json(content, most_values=MAX_VALUES)
        except ValueError:
            data = None
        found = explain(data, account=self.account, mask=lambda text: self._client.mask_text(text, rows))
        if found:
            return found
        said = f"{answer.address} answers {self._client.describe_answer(answer, content, rows)}"
        # A page for people comes from a machine before the API, and says nothing about the request.
        code = "server-error" if answer.status >= 500 else "too-large" if answer.status == 413 else "refused"
        helps = answer.status >= 500
        hint = "try again later" if helps else "see what stands between this machine and Meta"
        return GraphError(said, hint=hint, code=code, number=0, waiting_helps=helps)

    def _slow_down(self) -> None:
        if pause := self.usage.pause():
            self._report.message(
                f"{self.usage.percent:.0f} % of Meta's limit is used: the next request waits {pause:.0f} s"
            )
            time.sleep(pause)
            self.usage.percent = 0.0  # until the next answer says it anew

    def _wait_for_calls(self, error: GraphError, times: int) -> None:
        wait = self.usage.regain or min(FIRST_THROTTLE * 2 ** (times - 1), LONGEST_THROTTLE)
        if wait > LONGEST_THROTTLE:
            raise GraphError(
                f"{error.message}; it takes calls again in {wait / 60:,.0f} min, and a run waits "
                f"{LONGEST_THROTTLE / 60:.0f} min at most",
                hint=error.hint,
                code=error.code,
                number=error.number,
                subcode=error.subcode,
                waiting_helps=True,
            )
        self._wait(error, wait)

    def _wait(self, problem: RunError, seconds: float) -> None:
        self._report.message(f"{problem.message}; the next try is in {seconds:g} s", level="warning")
        time.sleep(seconds)
