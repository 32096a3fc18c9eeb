"""An org of Salesforce as its REST interface shows it: requests, what they cost, and what a refusal means."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

from connrunner.connectors import RunContext, Settings
from connrunner.connectors.http import find_authorities
from connrunner.connectors.http.client import RETRIES, Client, Response
from connrunner.connectors.http.url import HttpAddress
from connrunner.connectors.http.wire import BrokenError
from connrunner.connectors.salesforce.refusal_words import explain_request, read_errors
from connrunner.connectors.salesforce.sign_in import OrgSignIn
from connrunner.errors import RunError
from connrunner.text.nesting import parse_json
from connrunner.text.words import listed, nearest

API_VERSION = "67.0"
API_SHARE = 90  # percent of the calls of 24 hours that may be used when a run begins something
_USAGE = re.compile(r"(?:^|[;,\s])api-usage=(\d{1,12})/(\d{1,12})")

T = TypeVar("T")
Take = Callable[[Response], T]


class ApiUsage:
    """How many calls of its allowance the org has used: `Sforce-Limit-Info` stands in each answer.

    All calls of the org in the last 24 hours count, those of others too.
    """

    def __init__(self, share: int) -> None:
        self._share = share
        self._used = self._limit = 0
        self.calls = 0  # of ours

    def note(self, header: str) -> None:
        """Take an answer into account."""
        self.calls += 1
        found = _USAGE.search(header)
        if found:
            self._used, self._limit = int(found[1]), int(found[2])

    def refuse_beyond_share(self) -> None:
        """RunError when the share is used up: nothing new may begin then."""
        if self._limit and self._used * 100 >= self._limit * self._share:
            raise RunError(
                f"{self._used:,} of the {self._limit:,} calls that the org has in 24 hours are used, "
                f"and `api_share` lets this connection begin nothing beyond {self._share} %",
                hint="let it run at another hour, find out who makes the calls, or raise `api_share`",
                code="limit-exceeded",
                waiting_helps=True,
            )

    def describe(self) -> str:
        """Return it in words; empty when no answer told it."""
        if not self._limit:
            return ""
        part = f"{self._used * 100 / self._limit:.1f} %"
        return f"{self.calls:,} calls; the org has used {self._used:,} of {self._limit:,} of 24 hours ({part})"


class SalesforceOrg:
    """The org of a connection, signed in on first use."""

    def __init__(self, settings: Settings, context: RunContext, *, retries: int | None = None) -> None:
        authorities = find_authorities(settings, context.workspace)
        self._report = context.report
        self._sign_in = OrgSignIn(settings, context.report, authorities)
        self.usage = ApiUsage(int(settings.get("api_share", API_SHARE)))
        self._base = f"/services/data/v{settings.get('api_version', API_VERSION)}"
        tries = int(settings.get("retries", RETRIES)) if retries is None else retries
        own = {name: settings[name] for name in ("timeout",) if name in settings}
        self._own, self._authorities = own, authorities
        self._tries = tries
        self._clients: dict[int, Client] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients.values():
            client.close()

    @property
    def address(self) -> HttpAddress:
        """Where the org is; signs in when that is not known yet."""
        return self._sign_in.reach()

    def call(
        self,
        method: str,
        path: str,
        take: Take[T],
        *,
        body: bytes | None = None,
        kind: str = "application/json",
        once: bool = False,
        rows: Sequence[bytes] = (),
    ) -> T:
        """Return what *take* makes of the answer to a request for *path*, below the version of the API.

        A request that failed for a reason that may pass is sent again, unless *once*: BrokenError then says that it may
        have been done. RunError for a refusal, with the vendor's code and words.
        """
        client = self._client(0 if once else self._tries)
        address = self.address.joined(path if path.startswith("/services/") else f"{self._base}/{path}")

        def judge(answer: Response) -> T:
            self.usage.note(answer.headers.get("Sforce-Limit-Info", ""))
            if answer.status < 300:
                return take(answer)
            raise self._refusal(client, answer, rows)

        headers = (
            {"Accept": "application/json"} if body is None else {"Accept": "application/json", "Content-Type": kind}
        )
        refusals = 0

        def accept(status: int) -> bool:
            """Let `judge` have each answer but the first that the token had ended: a new one may help against that."""
            nonlocal refusals
            refusals += status == 401
            return status != 401 or refusals > 1

        return client.ask(method, address, judge, headers=headers, body=body, accept=accept)

    def get(self, path: str) -> Any:
        """Return the data of the answer to a GET."""
        return self.call("GET", path, Response.json)

    def send(self, method: str, path: str, data: Any) -> Any:
        """Return the data of the answer to a request with *data* as JSON."""
        return self.call(method, path, Response.json, body=json.dumps(data).encode())

    def query(self, soql: str) -> list[dict[str, Any]]:
        """Return all records of a short query, page after page."""
        path, found = f"query?q={quote(soql, safe='')}", list[dict[str, Any]]()
        while path:
            page = self.get(path)
            if not isinstance(page, dict) or not isinstance(page.get("records"), list):
                raise RunError(f"{self.address} answers a query without records", code="bad-answer")
            found += page["records"]
            path = "" if page.get("done", True) else str(page.get("nextRecordsUrl") or "")
        return found

    def mask(self, text: str) -> str:
        """Return *text* of the org fit for a message."""
        return self._client(self._tries).mask_text(text)

    def name_object(self, wanted: str) -> RunError:
        """Return the error for an object that the org does not show, with the one that is meant."""
        names = [str(one.get("name")) for one in self.get("sobjects").get("sobjects", []) if isinstance(one, dict)]
        near = nearest(wanted, names)
        return RunError(
            f"{self.address.place} shows this user no object {wanted!r}",
            hint=f"did you mean {near!r}?" if near else "write its API name, and let the user see it",
            code="no-object",
        )

    def describe_usage(self) -> None:
        """Say in the log what the run cost."""
        if words := self.usage.describe():
            self._report.message(f"API: {words}")

    def _client(self, tries: int) -> Client:
        if tries not in self._clients:
            self._clients[tries] = Client(
                {**self._own, "retries": tries},
                self._sign_in.reach(),
                self._report,
                authorities=self._authorities,
                sign_in=self._sign_in,
            )
        return self._clients[tries]

    def _refusal(self, client: Client, answer: Response, rows: Sequence[bytes]) -> RunError:
        content = answer.start()
        try:
            code, message = read_errors(parse_json(content.decode("utf-8", "replace")))
        except ValueError:
            code, message = "", ""
        meaning = explain_request(answer.status, code, message)
        said = client.mask_text(f"{code}: {message}" if code else message, rows)
        text = f"{answer.address} answers {said or f'{answer.status}, and nothing that is JSON'}"
        if meaning.again:
            return BrokenError(text, hint=meaning.hint, code=meaning.code)
        return RunError(text, hint=meaning.hint, code=meaning.code, waiting_helps=meaning.waiting_helps)


def list_some(names: Sequence[str]) -> str:
    """Return the first of *names*, for a message."""
    return listed([*names[:8], *(["others"] if len(names) > 8 else [])])
