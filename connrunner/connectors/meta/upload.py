"""Members on their way: batches in sessions, each known to be under way before it goes out and booked when it arrived.

https://developers.facebook.com/docs/marketing-api/audiences/guides/custom-audiences#upload
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence
from typing import Any

from connrunner.connectors.meta import graph as graph_module
from connrunner.connectors.meta.audience import Audience
from connrunner.connectors.meta.graph import Graph
from connrunner.connectors.meta.graph_errors import GraphError
from connrunner.connectors.meta.member_rows import compose_body
from connrunner.connectors.meta.members import ADD, REMOVE, REPLACE, Member, MemberLedger, OpenBatch
from connrunner.core.report import Report
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass, replace
from connrunner.text.words import agree

LARGEST = 10_000  # rows of a request, by Meta's rules
SMALLEST = 100  # rows below which a refused batch is not halved any more

_REQUESTS = {ADD: ("POST", "users"), REMOVE: ("DELETE", "users"), REPLACE: ("POST", "usersreplace")}


@dataclass(kw_only=True, slots=True)
class UploadSession:
    """Requests that belong together, by Meta's rules."""

    action: str
    number: int  # ours, and unique for the ad account
    batches: int = 0  # that have arrived
    rows: int = 0
    total: int = 0  # an estimate

    @classmethod
    def begin(cls, action: str, total: int) -> UploadSession:
        return cls(action=action, number=secrets.randbits(62) + 1, total=total)


class MemberSender:
    """Sends members to one audience; counts what Meta says that it received."""

    def __init__(
        self,
        graph: Graph,
        ledger: MemberLedger,
        audience: Audience,
        report: Report,
        *,
        size: int,
        is_list: bool = False,
    ) -> None:
        self.received = self.invalid = 0
        self.size = min(size, LARGEST)
        self._graph, self._ledger, self._audience, self._report = graph, ledger, audience, report
        self._is_list = is_list

    def recover(self) -> OpenBatch | None:
        """Settle the batch that a killed run left open, by what Meta says of its session; return it if it arrived."""
        batch = self._ledger.read_batch()
        if batch is None:
            return None
        arrived = self._has_arrived(batch)
        self._ledger.finish_batch(arrived=arrived)
        state = "had arrived" if arrived else "had not arrived, or nobody knows, and goes out again"
        self._report.message(
            f"an earlier run ended while {agree(batch.rows, 'row', 'was', 'were')} on the way: it {state}"
        )
        return batch if arrived else None

    def send(self, session: UploadSession, members: Sequence[Member], *, is_last: bool) -> None:
        """
        Send *members*, in smaller batches when Meta wants them smaller.

        When an error leaves, all batches before the one with the error have arrived and are booked.
        """
        rest = list(members)
        while rest:
            part = rest[: self.size]
            try:
                self._send_batch(session, part, is_last=is_last and len(part) == len(rest))
            except GraphError as error:
                if not (error.code == "too-large" or error.is_temporary) or len(part) <= SMALLEST:
                    raise
                self.size = max(SMALLEST, len(part) // 2)
                self._report.message(f"{error.message}; batches have {self.size:,} rows from now on", level="warning")
                continue
            rest = rest[len(part) :]

    def _send_batch(self, session: UploadSession, members: Sequence[Member], *, is_last: bool) -> None:
        batch = OpenBatch(
            action=session.action,
            session=session.number,
            number=session.batches + 1,
            before=session.rows,
            rows=len(members),
            is_list=self._is_list,
        )
        body = compose_body(
            members,
            {
                "session_id": session.number,
                "batch_seq": batch.number,
                "last_batch_flag": is_last,
                "estimated_num_total": max(session.total, session.rows + len(members)),
            },
        )
        self._ledger.begin_batch(batch, members)
        try:
            answer = self._ask(batch, body, members)
        except GraphError:
            self._ledger.finish_batch(arrived=False)  # Meta said no
            raise
        self._ledger.finish_batch(arrived=True)
        session.batches += 1
        session.rows += len(members)
        self.received += _count(answer.get("num_received", len(members)))
        self.invalid += _count(answer.get("num_invalid_entries", 0))

    def _ask(self, batch: OpenBatch, body: bytes, members: Sequence[Member]) -> dict[str, Any]:
        """Return Meta's answer; when it is lost, whether the batch arrived is asked before it goes out again."""
        method, edge = _REQUESTS[batch.action]
        tries = 0
        while True:
            try:
                return self._graph.ask(
                    method,
                    f"{self._audience.id}/{edge}",
                    data=body,
                    rows=[member.text.encode() for member in members],
                    is_safe=False,
                )
            except RunError as error:
                if not graph_module.is_unknown(error):
                    raise
                if self._has_arrived(batch):
                    return {}
                tries += 1
                if tries > graph_module.RETRIES:
                    raise
                self._report.message(f"{error.message}; the batch goes out again", level="warning")
                time.sleep(graph_module.FIRST_WAIT * 2 ** (tries - 1))

    def _has_arrived(self, batch: OpenBatch) -> bool:
        """Return whether Meta says that it received *batch*; False when it does not say."""
        try:
            found = self._graph.get(f"{self._audience.id}/sessions", session_id=str(batch.session))
        except RunError:
            return False  # sent again, a batch changes nothing: members are a set
        for one in found.get("data") or ():
            if isinstance(one, dict) and str(one.get("session_id")) == str(batch.session):
                return _count(one.get("num_received", 0)) >= batch.before + batch.rows
        return False


def find_member_changes(
    ledger: MemberLedger, wanted: dict[str, list[Member]], *, removes: bool
) -> tuple[list[Member], list[Member]]:
    """Return the members to remove and those to add, so that the profiles of *wanted* are members as they say."""
    known = ledger.find(wanted)
    gone: list[Member] = []
    new: list[Member] = []
    for profile, rows in wanted.items():
        if profile not in known:
            new += rows
            continue
        before = {one.digest: one for one in known[profile]}
        now = {one.digest for one in rows}
        new += [one for one in rows if one.digest not in before or not before[one.digest].is_sure]
        if removes:
            gone += [one for one in before.values() if one.digest not in now]
    return gone, new


def leave_shared(ledger: MemberLedger, gone: Iterable[Member], staying: Iterable[Member] = ()) -> list[Member]:
    """Return those of *gone* whose row is no other member's, and forget the others: a row stays for whom it is left."""
    leaving = {(one.profile, one.digest): one for one in gone}
    kept = {one.digest for one in staying}
    shared = [one for one in leaving.values() if one.digest in kept or ledger.is_shared(one, set(leaving))]
    ledger.forget(shared)
    left_out = {(one.profile, one.digest) for one in shared}
    return [replace(one) for key, one in leaving.items() if key not in left_out]


def _count(value: Any) -> int:
    """Return a number of rows; 0 for what is none: what Meta says of them is told, and nothing rests on it."""
    return int(value) if isinstance(value, int | str) and str(value).isdecimal() else 0
