"""What people do on the page: run, stop, approve, decline, unqueue, send again. Each leaves what its command leaves."""

from __future__ import annotations

from typing import Any, Literal

from connrunner.answers.connection_filter import ConnectionFilter
from connrunner.answers.held_choice import choose_held_run
from connrunner.answers.run_choice import choose_runs
from connrunner.answers.stop_choice import choose_removal, choose_stop
from connrunner.errors import ArgumentError
from connrunner.lazy_dataclasses import dataclass
from connrunner.state import requests
from connrunner.state.deliveries import list_deliveries
from connrunner.state.delivery_decisions import decide_deliveries
from connrunner.web.parameters import read_optional, refuse_unknown, require_connection
from connrunner.web.problem import RefusedError
from connrunner.web.site import Call

LONGEST_REASON = 300  # characters, as `connrunner stop --reason` takes them


@dataclass(frozen=True, slots=True)
class AskedFor:
    """What was asked for: the id of the request, and what answers say of it."""

    id: str
    facts: dict[str, Any]


def act_run(call: Call) -> AskedFor:
    """Ask for a run, as `connrunner run NAME --detach` does; `force` also of a connection that is switched off."""
    refuse_unknown(call.body, ("force",))
    name, view = require_connection(call.view, call.names["name"]), call.view
    force = read_optional(call.body, "force", bool, False)
    chosen = choose_runs(view, ConnectionFilter(names=(name,)), force=force)
    rules = {connection.name: connection.notify for connection in chosen.connections}
    view.prepare_state()
    made = requests.request_run(view.state, name, at=view.clock(), by=call.asked_by, force=force, notify=rules)
    return AskedFor(made, {"connection": name})


def act_stop(call: Call) -> AskedFor:
    """Ask for the end of a run, as `connrunner stop NAME --detach` does."""
    refuse_unknown(call.body, ("run", "reason"))
    name, number = require_connection(call.view, call.names["name"]), _number(call)
    stop = choose_stop(call.view, name, number, asked_by=call.asked_by, reason=_reason(call))
    call.view.prepare_state()
    made = requests.request_stop(call.view.state, stop)
    return AskedFor(made.id, {"connection": name, "run": made.run})


def act_approve(call: Call) -> AskedFor:
    """Have done what a held run showed, as `connrunner approve NAME RUN --detach` does; the reason has to be said."""
    if not _reason(call).strip():
        raise RefusedError(400, "nothing says why it is approved", "write it into `reason`")
    return _decide(call, "approve")


def act_decline(call: Call) -> AskedFor:
    """Decline what a held run showed, as `connrunner decline NAME RUN --detach` does."""
    return _decide(call, "decline")


def _decide(call: Call, kind: Literal["approve", "decline"]) -> AskedFor:
    refuse_unknown(call.body, ("run", "reason"))
    name, number = require_connection(call.view, call.names["name"]), _number(call)
    reason = _reason(call)
    decision = choose_held_run(call.view, name, number, kind, asked_by=call.asked_by, reason=reason)
    call.view.prepare_state()
    made = requests.request_decision(call.view.state, decision)
    return AskedFor(made.id, {"connection": name, "run": made.run})


def act_remove(call: Call) -> AskedFor:
    """Take the waiting run out of the queue, whatever works."""
    refuse_unknown(call.body, ("reason",))
    name = require_connection(call.view, call.names["name"])
    stop = choose_removal(call.view, name, asked_by=call.asked_by, reason=_reason(call))
    call.view.prepare_state()
    return AskedFor(requests.request_stop(call.view.state, stop).id, {"connection": name, "run": None})


def act_retry(call: Call) -> AskedFor:
    """Have mail sent again by the next tick, as `connrunner notify retry ID` does."""
    refuse_unknown(call.body, ("recipient",))
    view, identity = call.view, call.names["id"]
    if not any(delivery.notice.id == identity for delivery in list_deliveries(view.journal_state, view.clock())):
        raise RefusedError(404, "no such mail waits or was given up", "/notifications lists what does")
    to = read_optional(call.body, "recipient", str, "")
    view.prepare_state()
    found = decide_deliveries(view.state, "retried", [identity], to=to, at=view.clock(), by=call.asked_by)
    if not found:
        raise ArgumentError("no mail to that address waits or was given up")
    return AskedFor(identity, {"recipients": [delivery.recipient for delivery in found]})


def _number(call: Call) -> int | None:
    number: int | None = read_optional(call.body, "run", int, None)
    if number is not None and number < 1:
        raise RefusedError(400, "`run` is not the number of a run", "the number of a run is 1, 2, 3, ...")
    return number


def _reason(call: Call) -> str:
    reason: str = read_optional(call.body, "reason", str, "")
    if len(reason) > LONGEST_REASON:
        raise RefusedError(400, f"the reason has {len(reason)} characters", f"say it in {LONGEST_REASON}")
    return reason
