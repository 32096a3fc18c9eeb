"""The audience that an export fills: found by its id or its name, made when it is missing, and fit to be changed.

https://developers.facebook.com/docs/marketing-api/reference/custom-audience
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connrunner.connectors import Settings
from connrunner.connectors.meta.graph import Graph, is_unknown
from connrunner.connectors.meta.graph_errors import TERMS, GraphError
from connrunner.core.report import Report
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass

FLAGGED = 471  # operation_status
FIELDS = "id,name,operation_status,account_id"
ACTIVE = 1  # account_status


@dataclass(frozen=True, kw_only=True, slots=True)
class Audience:
    """A custom audience; `id` is empty for one that is still to be made."""

    id: str
    name: str

    def __str__(self) -> str:
        return f"audience {self.name!r} ({self.id})" if self.id else f"audience {self.name!r}, which is to be made"


def check_account(graph: Graph, report: Report) -> None:
    """RunError when the ad account cannot be used, or its terms of custom audiences were not accepted."""
    found = graph.get(graph.account, fields="account_status,tos_accepted")
    terms = found.get("tos_accepted")
    if isinstance(terms, Mapping) and "custom_audience_tos" in terms and not terms["custom_audience_tos"]:
        raise RunError(
            f"nobody has accepted the terms of custom audiences for the ad account {graph.account}",
            hint=f"have a person with access accept them at {TERMS.format(account=graph.account.removeprefix('act_'))}",
            code="terms",
        )
    if found.get("account_status", ACTIVE) != ACTIVE:
        report.message(f"the ad account {graph.account} is not active: see Meta's Ads Manager", level="warning")


def look_up_audience(graph: Graph, settings: Settings, known: str | None, *, anew: str) -> Audience:
    """
    Return the audience of the *settings*; one without `id` when it is missing and `create` is on.

    *known* is the id of one that an earlier run made: a list may not show it yet. Should it be gone, *anew* is the
    command that has all rows sent to a new one, and empty when it was typed. RunError when there is none, or several of
    that name, or when it is of another ad account or takes no changes.
    """
    if "audience_id" in settings:
        return _read(graph, str(settings["audience_id"]))
    name = str(settings["audience"])
    found = [one for one in graph.list_audiences() if one.get("name") == name]
    if len(found) > 1:
        numbers = ", ".join(sorted(str(one.get("id")) for one in found))
        raise RunError(
            f"the ad account {graph.account} has {len(found)} audiences called {name!r}: {numbers}",
            hint="write `audience_id` instead of `audience`",
            code="ambiguous",
        )
    if found:
        _check_status(found[0])
        return Audience(id=str(found[0]["id"]), name=name)
    if known:
        try:
            return _read(graph, known)
        except GraphError as error:
            if error.code != "not-found":
                raise
            if anew:
                raise RunError(
                    f"the audience {name!r} ({known}), which an earlier run made, is not there any more",
                    hint=f"`{anew}` has the next run make a new one, and send all",
                    code="not-found",
                ) from error
    if settings.get("create") is not True:
        raise RunError(
            f"the ad account {graph.account} has no audience called {name!r}",
            hint="correct `audience`, or let it be made: `create: true`",
            code="not-found",
        )
    return Audience(id="", name=name)


def make_audience(graph: Graph, settings: Settings) -> Audience:
    """Make the audience, and return it. When the answer is lost, it is looked for before it is made again."""
    name = str(settings["audience"])
    wanted = {
        "name": name,
        "subtype": "CUSTOM",
        "customer_file_source": str(settings.get("customer_file_source", "USER_PROVIDED_ONLY")),
        "description": str(settings.get("description", "Kept by connrunner")),
    }
    for last_try in (False, True):
        try:
            made = graph.ask("POST", f"{graph.account}/customaudiences", data=wanted, is_safe=False)
            return Audience(id=str(made.get("id", "")), name=name)
        except RunError as error:
            if not is_unknown(error) or last_try:
                raise
            for one in graph.list_audiences():
                if one.get("name") == name:
                    return Audience(id=str(one["id"]), name=name)
    raise AssertionError("unreachable")


def _read(graph: Graph, number: str) -> Audience:
    found = graph.get(number, fields=FIELDS)
    owner = str(found.get("account_id", graph.account)).removeprefix("act_")
    if owner != graph.account.removeprefix("act_"):
        raise RunError(
            f"the audience {number} belongs to another ad account, act_{owner}, not to {graph.account}",
            hint="correct `audience_id` or `account`",
            code="foreign-account",
        )
    _check_status(found)
    return Audience(id=str(found.get("id", number)), name=str(found.get("name", number)))


def _check_status(data: Mapping[str, Any]) -> None:
    status = data.get("operation_status")
    if isinstance(status, Mapping) and status.get("code") == FLAGGED:
        raise GraphError(
            f"Meta has flagged the audience {data.get('id')}, and takes no change of its members "
            f"(operation_status {FLAGGED})",
            hint="resolve it in Meta's Ads Manager, under Audiences",
            code="flagged",
            number=100,
        )
