"""One export to an audience: look, recover, remove, add or replace, and say what Meta received."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

from connrunner.connectors import Refusal, RunContext, SendResult, Settings
from connrunner.connectors.meta import member_rows
from connrunner.connectors.meta.access_token import check_token
from connrunner.connectors.meta.audience import Audience, check_account, look_up_audience, make_audience
from connrunner.connectors.meta.graph import Graph
from connrunner.connectors.meta.graph_errors import GraphError
from connrunner.connectors.meta.member_rows import KeyMapping, PreparedRows
from connrunner.connectors.meta.members import ADD, NAME, REMOVE, REPLACE, Member, MemberLedger
from connrunner.connectors.meta.upload import LARGEST, MemberSender, UploadSession, find_member_changes, leave_shared
from connrunner.core.model import LEDGER_RESET
from connrunner.errors import RunError
from connrunner.text.words import plural


def look(graph: Graph, settings: Settings, context: RunContext) -> tuple[Audience, str]:
    """
    Return the audience that the rows would go to, and what is known of the token's end; RunError when they cannot.

    Nothing is changed anywhere.
    """
    token = check_token(graph, context.report, context.at)
    check_account(graph, context.report)
    known, filled, anew = _read_known(context)
    audience = look_up_audience(graph, settings, known, anew=anew)
    _check_same(audience, filled, context)
    return audience, token


def send_rows(graph: Graph, settings: Settings, context: RunContext, local: Path) -> SendResult:
    """Do what `operation` says with the rows of *local*; see the manual of the connector."""
    with closing(MemberLedger(context.open_ledger())) as ledger:
        audience = _settle_audience(graph, settings, context, ledger)
        return _Delivery(graph, settings, context, local, ledger, audience).run()


def _settle_audience(graph: Graph, settings: Settings, context: RunContext, ledger: MemberLedger) -> Audience:
    """Return the audience, made if need be, and note which one it is."""
    reset = context.open_ledger() / LEDGER_RESET
    anew = "" if reset.exists() else _name_reset(context)
    audience = look_up_audience(graph, settings, ledger.read("made"), anew=anew)
    if not audience.id:
        audience = make_audience(graph, settings)
        ledger.write("made", audience.id)
        context.report.message(f"made the {audience}")
    if reset.exists():
        with ledger.transaction():
            ledger.write("held", None)
            if ledger.read("audience") == audience.id:
                ledger.doubt()
            else:
                ledger.clear()
        reset.unlink()
    elif ledger.count():
        _check_same(audience, ledger.read("audience"), context)
    ledger.write("audience", audience.id)
    return audience


def _read_known(context: RunContext) -> tuple[str | None, str | None, str]:
    """Return the audience that an earlier run made, the one that it filled, and what to type to begin anew."""
    folder = context.ledger
    if folder is None or not (folder / NAME).exists():
        return None, None, ""
    is_reset = (folder / LEDGER_RESET).exists()
    with closing(MemberLedger(folder)) as ledger:
        filled = ledger.read("audience") if ledger.count() and not is_reset else None
        return ledger.read("made"), filled, "" if is_reset else _name_reset(context)


def _name_reset(context: RunContext) -> str:
    return f"connrunner reset {context.connection}"


def _check_same(audience: Audience, filled: str | None, context: RunContext) -> None:
    if filled and audience.id != filled:
        raise RunError(
            f"earlier runs filled the audience {filled}, and this is the {audience}",
            hint=f"remove whom it holds there in Meta's Ads Manager; `{_name_reset(context)}` sends all",
            code="other-audience",
        )


class _Delivery:
    def __init__(
        self,
        graph: Graph,
        settings: Settings,
        context: RunContext,
        local: Path,
        ledger: MemberLedger,
        audience: Audience,
    ) -> None:
        self._context, self._local, self._ledger, self._audience = context, local, ledger, audience
        self._action = {"remove": REMOVE, "replace": REPLACE}.get(str(settings.get("operation", "add")), ADD)
        self._mapping = KeyMapping.from_settings(settings)
        self._size = min(int(settings.get("batch", LARGEST)), LARGEST)
        self._sender = MemberSender(
            graph, ledger, audience, context.report, size=self._size, is_list=self._action == REMOVE
        )
        self._refused: list[Refusal] = []
        self._unusable: Counter[str] = Counter()
        self._done = 0

    def run(self) -> SendResult:
        self._sender.recover()
        try:
            if self._action == REPLACE:
                self._replace()
            else:
                self._change()
        except RunError:
            if received := self._sender.received:
                self._context.report.message(
                    f"{plural(received, 'row')} had arrived when that happened; the next run goes on from there",
                    level="warning",
                )
            raise
        return SendResult(where=self._tell(), refused=tuple(self._refused))

    def _change(self) -> None:
        """Remove those who leave, then add those who come, or remove them if the operation says so."""
        is_list = self._action == REMOVE
        if is_list:
            self._begin_list()
        else:
            self._remove_deleted()
        session = UploadSession.begin(self._action, self._count_rows())
        waiting: list[Member] = []
        for some in self._prepare():
            gone, new = find_member_changes(self._ledger, some.wanted, removes=not is_list)
            if gone:
                self._remove(leave_shared(self._ledger, gone, new))
            waiting += new
            while len(waiting) > self._sender.size:
                part, waiting = waiting[: self._sender.size], waiting[self._sender.size :]
                self._sender.send(session, part, is_last=False)
        self._sender.send(session, waiting, is_last=True)
        if not is_list:
            while left := self._ledger.list_members(most=self._size, only_unsure=True):
                self._remove(leave_shared(self._ledger, left))

    def _begin_list(self) -> None:
        """Remember who was removed only for a run that has to do it again: the partner has nobody of them."""
        found = member_rows.hash_file(self._local)
        if self._ledger.read("list") != found:
            with self._ledger.transaction():
                self._ledger.clear()
                self._ledger.write("list", found)

    def _remove_deleted(self) -> None:
        profiles = member_rows.list_deleted(self._local)
        while some := list(islice(profiles, self._size)):
            gone = [member for members in self._ledger.find(some).values() for member in members]
            self._remove(leave_shared(self._ledger, gone))

    def _remove(self, members: Sequence[Member]) -> None:
        if members:
            self._ledger.write("held", None)
            self._sender.send(UploadSession.begin(REMOVE, len(members)), members, is_last=True)

    def _replace(self) -> None:
        total = self._count_rows()
        if not total:
            # Meta refuses a replacement without rows.
            while some := self._ledger.list_members(most=self._size):
                self._remove(some)
            return
        file = member_rows.hash_file(self._local)
        if self._ledger.read("held") == file:
            self._context.report.message("the audience was given these very rows the last time: nothing is sent")
            return
        session = self._resume_replacement(total)
        try:
            self._send_replacement(session)
        except GraphError as error:
            if not error.is_about_session:
                raise
            self._context.report.message(f"{error.message}; a new session begins", level="warning")
            self._sender.received = self._sender.invalid = 0
            self._send_replacement(self._begin_replacement(total))
        self._ledger.finish_replacement(file)

    def _send_replacement(self, session: UploadSession) -> None:
        waiting: list[Member] = []
        skip = session.rows  # that have arrived in this session
        for some in self._prepare():
            waiting += [one for members in some.wanted.values() for one in members]
            cut, skip = min(skip, len(waiting)), skip - min(skip, len(waiting))
            waiting = waiting[cut:]
            while len(waiting) > self._sender.size:
                part, waiting = waiting[: self._sender.size], waiting[self._sender.size :]
                self._sender.send(session, part, is_last=False)
        self._sender.send(session, waiting, is_last=True)

    def _begin_replacement(self, total: int) -> UploadSession:
        session = UploadSession.begin(REPLACE, total)
        with self._ledger.transaction():
            self._ledger.begin_replacement()
            self._ledger.write("replacement", {"session": session.number, "file": member_rows.hash_file(self._local)})
        return session

    def _resume_replacement(self, total: int) -> UploadSession:
        """Return the session that a killed run began with the same rows, else a new one."""
        noted = self._ledger.read("replacement")
        if not noted or noted["file"] != member_rows.hash_file(self._local):
            return self._begin_replacement(total)
        batches, sent = self._ledger.read_replacement()
        return UploadSession(action=REPLACE, number=noted["session"], batches=batches, rows=sent, total=total)

    def _prepare(self) -> Iterator[PreparedRows]:
        self._refused.clear()
        self._unusable.clear()
        self._done = 0
        for some in member_rows.prepare_rows(self._local, self._size, self._mapping):
            self._refused += some.refused
            self._unusable += some.unusable
            yield some
            self._done += some.rows
            self._context.report.progress("sending", self._done)

    def _count_rows(self) -> int:
        with self._local.open("rb") as file:
            return sum(1 for _ in file)

    def _tell(self) -> str:
        """Return where the rows are, with what Meta said of them."""
        for key, count in sorted(self._unusable.items()):
            said = "cannot be used (no hash, or no value by Meta's rules) and are left out"
            self._context.report.message(f"values of {key} in {plural(count, 'row')} {said}", level="warning")
        sender = self._sender
        if sender.invalid:
            self._context.report.message(
                f"Meta counts {plural(sender.invalid, 'row')} as invalid, and does not say which", level="warning"
            )
        return f"{self._audience}: {sender.received:,} received, {sender.invalid:,} invalid"
