"""A double of Meta's Graph API over real HTTP and TLS, as its documents and the public reports of its users describe it.

Each behaviour names where it is from:

- custom audiences, batches of 10,000 rows, sessions, num_received:
  developers.facebook.com/docs/marketing-api/audiences/guides/custom-audiences
- paging by cursors, whose `next` holds the token: developers.facebook.com/docs/graph-api/results
- errors in HTTP 400 with code and subcode: developers.facebook.com/docs/graph-api/guides/error-handling and
  developers.facebook.com/docs/marketing-api/error-reference
- a token's end and permissions, asked within a batch request: developers.facebook.com/docs/graph-api/reference/debug_token and
  developers.facebook.com/docs/graph-api/making-multiple-requests
- usage headers: developers.facebook.com/docs/graph-api/overview/rate-limiting
- 1870147 for a batch that is not the next one, operation_status 300 during a replacement: reports of users

Members are people: a row finds its person by its keys; the double knows no person and keeps the rows as sent. `taken`
is its own ledger: every row of every request that it took, so a row that came twice stands in it twice.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.servers.http import Asked, Reply, data

LARGEST = 10_000
ACCOUNT = "1234567890"
_HASHED = {"EMAIL", "PHONE", "GEN", "DOBY", "DOBM", "DOBD", "LN", "FN", "FI", "CT", "ST", "ZIP", "COUNTRY"}
_HASH = re.compile(r"[0-9a-f]{64}|")
EMPTY_HASH = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

Row = tuple[tuple[str, str], ...]


@dataclass
class Held:
    """An audience."""

    name: str
    account: str = ACCOUNT
    status: int = 200  # operation_status
    members: set[Row] = field(default_factory=set)
    incoming: set[Row] | None = None  # of a replacement that has not ended


@dataclass
class Upload:
    audience: str
    received: int = 0
    batches: int = 0
    ended: bool = False


def error(code: int, subcode: int = 0, message: str = "", **more: Any) -> Reply:
    said: dict[str, Any] = {"message": message or f"(#{code}) refused", "type": "OAuthException", "code": code}
    if subcode:
        said["error_subcode"] = subcode
    return data({"error": {**said, "fbtrace_id": "A1b2C3", **more}}, 400)


class MetaDouble:
    """Answers for one ad account; its `act` is what tests/servers/http.Server wants."""

    def __init__(self, token: str, *, seconds_per_row: float = 0.0) -> None:
        self.token = token
        self.audiences: dict[str, Held] = {}
        self.made = 0  # audiences; a number is not given twice
        self.uploads: dict[str, Upload] = {}
        self.taken: list[tuple[str, str, Row]] = []  # edge, audience, row
        self.requests: list[tuple[str, str, int]] = []  # method, edge, rows
        self.terms = True
        self.token_says: dict[str, Any] | None = {"is_valid": True, "expires_at": 0, "scopes": ["ads_management"]}
        self.largest = LARGEST
        self.usage: dict[str, str] = {}  # headers
        self.before: Callable[[str, str], Reply | None] = lambda method, edge: None  # instead of doing it
        self.after: Callable[[str, str], Reply | None] = lambda method, edge: None  # it is done, and the answer is this
        self.invalid: Callable[[dict[str, str]], bool] = lambda row: False
        self.busy = 0.0  # seconds that it worked, or made believe to
        self.keeps_rows = True  # a benchmark of a million rows does without the ledger
        self._seconds_per_row = seconds_per_row
        self._lock = threading.Lock()

    def hold(self, name: str, number: str = "", **more: Any) -> str:
        self.made += 1
        number = number or str(23850000000000000 + self.made)
        self.audiences[number] = Held(name=name, **more)
        return number

    def writes(self) -> list[tuple[str, str, int]]:
        return [
            one for one in self.requests if one[0] != "GET" and one[1] != "me"
        ]  # a batch of questions writes nothing

    def act(self, asked: Asked) -> Reply:
        start = time.monotonic()
        reply = self._answer(asked)
        self.busy += time.monotonic() - start
        reply.headers.update(self.usage)
        return reply

    def _answer(self, asked: Asked) -> Reply:
        method = asked.method
        parts = asked.path.strip("/").split("/")[1:]  # without the version
        edge = parts[-1]
        body = asked.json if asked.body else {}
        self.requests.append((method, edge, len(body.get("payload", {}).get("data", ()))))
        assert self.token not in asked.path + json.dumps(asked.query)
        if asked.headers["Authorization"] != f"Bearer {self.token}":
            return error(190, 467, "Invalid OAuth access token.")
        if planned := self.before(method, edge):
            return planned
        with self._lock:
            reply = self._do(method, parts, asked, body)
        if reply.status == 200 and (planned := self.after(method, edge)):
            return planned
        return reply

    def _do(self, method: str, parts: list[str], asked: Asked, body: Any) -> Reply:
        match method, parts:
            case "GET", [account] if account == f"act_{ACCOUNT}":
                terms = {"custom_audience_tos": 1} if self.terms else {"custom_audience_tos": 0}
                return data({"id": account, "account_status": 1, "tos_accepted": terms})
            case "POST", ["me"]:
                return data([self._inspect(one) for one in body["batch"]])
            case "GET", [account, "customaudiences"] if account == f"act_{ACCOUNT}":
                return self._list(asked)
            case "POST", [account, "customaudiences"] if account == f"act_{ACCOUNT}":
                if not self.terms:
                    return error(200, 1870034, "Custom Audience Terms Not Accepted")
                if not {"name", "subtype", "customer_file_source"} <= set(body):
                    return error(100, 0, "missing parameter")
                return data({"id": self.hold(body["name"])})
            case _, [number, *edge] if number in self.audiences:
                return self._of_audience(method, number, edge, asked, body)
        return error(100, 33, f"Unsupported get request. Object with ID '{parts[0]}' does not exist")

    def _inspect(self, question: dict[str, str]) -> dict[str, Any]:
        assert question == {"method": "GET", "relative_url": f"debug_token?input_token={self.token}"}
        if self.token_says is None:
            return {"code": 400, "body": json.dumps({"error": {"code": 100, "message": "(#100) developers only"}})}
        return {"code": 200, "body": json.dumps({"data": self.token_says})}

    def _list(self, asked: Asked) -> Reply:
        numbers = sorted(number for number, held in self.audiences.items() if held.account == ACCOUNT)
        after = asked.query.get("after", "")
        limit = int(asked.query.get("limit", 25))
        some = [number for number in numbers if number > after][:limit]
        paging: dict[str, Any] = {"cursors": {"after": some[-1]}} if some else {}
        if some and some[-1] != numbers[-1]:
            paging["next"] = f"https://graph.facebook.com/next?access_token={self.token}"
        return data({"data": [self._describe(number) for number in some], "paging": paging})

    def _describe(self, number: str) -> dict[str, Any]:
        held = self.audiences[number]
        status = {"code": held.status, "description": "flagged" if held.status == 471 else "Normal"}
        return {"id": number, "name": held.name, "operation_status": status, "account_id": held.account}

    def _of_audience(self, method: str, number: str, edge: list[str], asked: Asked, body: Any) -> Reply:
        match method, edge:
            case "GET", []:
                return data(self._describe(number))
            case "GET", ["sessions"]:
                upload = self.uploads.get(asked.query.get("session_id", ""))
                found = [] if upload is None or upload.audience != number else [upload]
                return data(
                    {
                        "data": [
                            {
                                "session_id": asked.query["session_id"],
                                "num_received": str(one.received),
                                "stage": "processed" if one.ended else "uploading",
                            }
                            for one in found
                        ]
                    }
                )
            case "POST" | "DELETE", ["users"] | ["usersreplace"]:
                return self._change(method, number, edge[0], body)
        return error(100, 33)

    def _change(self, method: str, number: str, edge: str, body: Any) -> Reply:
        held = self.audiences[number]
        if held.status == 471:
            return error(100, 1713230, "blocked", error_user_title="Audience flagged", error_user_msg="Review it")
        schema, rows = body["payload"]["schema"], body["payload"]["data"]
        session = body["session"]
        if len(rows) > min(self.largest, LARGEST):
            return error(105, 0, "The number of parameters exceeded the maximum for this operation")
        if not rows or any(len(row) != len(schema) for row in rows):
            return error(100, 0, "Invalid parameter")
        upload = self.uploads.setdefault(str(session["session_id"]), Upload(number))
        if session["batch_seq"] != upload.batches + 1 or upload.audience != number or upload.ended:
            return error(2650, 1870147, "wrong batch_seq")
        named = [tuple((key, value) for key, value in zip(schema, row, strict=True) if value) for row in rows]
        bad = sum(not self._is_sound(dict(row)) for row in named)
        self._book(held, method, edge, named, is_last=session["last_batch_flag"])
        if self.keeps_rows:
            self.taken += [(f"{method} {edge}", number, row) for row in named]
        upload.batches += 1
        upload.received += len(rows)
        upload.ended = session["last_batch_flag"]
        if self._seconds_per_row:
            time.sleep(self._seconds_per_row * len(rows))
        return data(
            {
                "audience_id": number,
                "session_id": str(session["session_id"]),
                "num_received": len(rows),
                "num_invalid_entries": bad,
                "invalid_entry_samples": {},
            }
        )

    def _book(self, held: Held, method: str, edge: str, named: list[Row], *, is_last: bool) -> None:
        if not self.keeps_rows:
            return
        if edge == "usersreplace":
            held.incoming = (held.incoming or set()) | set(named)
            held.status = 300
            if is_last:
                held.members, held.incoming, held.status = held.incoming, None, 200
        elif method == "DELETE":
            held.members -= set(named)
        else:
            held.members |= set(named)

    def _is_sound(self, row: dict[str, str]) -> bool:
        hashes = [value for key, value in row.items() if key in _HASHED]
        fits = all(_HASH.fullmatch(value) and value != EMPTY_HASH for value in hashes)
        return fits and bool(row) and not self.invalid(row)
