"""What Meta's errors mean, in the words of those who can do something about it.

Codes and subcodes decide, never the HTTP status:
https://developers.facebook.com/docs/graph-api/guides/error-handling and
https://developers.facebook.com/docs/marketing-api/error-reference
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from connrunner.errors import RunError

TEMPORARY = (1, 2)
THROTTLED = (4, 17, 32, 613, *range(80000, 80015))  # 80003: the calls of custom audiences
TOO_MANY = 105  # rows or parameters
TERMS = "https://www.facebook.com/customaudiences/app/tos/?act={account}"


class GraphError(RunError):
    """An answer of Meta that says what is wrong; `number` is its code, `subcode` 0 when it has none."""

    def __init__(
        self, message: str, *, hint: str, code: str, number: int, subcode: int = 0, waiting_helps: bool = False
    ) -> None:
        super().__init__(message, hint=hint, code=code, waiting_helps=waiting_helps)
        self.number, self.subcode = number, subcode

    @property
    def is_temporary(self) -> bool:
        return self.code == "server-error"

    @property
    def is_throttled(self) -> bool:
        return self.code == "throttled"

    @property
    def is_about_session(self) -> bool:
        return self.number == 2650


# By code and subcode, or by the code alone: what it means, what to do, and our own word for it.
_MEANINGS: Mapping[tuple[int, int | None], tuple[str, str, str]] = {
    (190, 458): ("the app was taken off the account that the token is of", "make a new token", "unauthorized"),
    (190, 460): (
        "the password was changed, which ended the token",
        "make a new token of a system user",
        "unauthorized",
    ),
    (190, 463): ("the token has expired", "make a new one; that of a system user does not expire", "unauthorized"),
    (190, 467): ("the token is not valid any more", "make a new token of a system user", "unauthorized"),
    (190, None): ("the token is not valid", "make a new one: a system user with `ads_management`", "unauthorized"),
    (102, None): ("the token's session has ended", "make a new token of a system user", "unauthorized"),
    (200, 1870034): (
        "nobody has accepted the terms of custom audiences for this ad account",
        f"have a person with access accept them at {TERMS}",
        "terms",
    ),
    (2663, None): (
        "nobody has accepted the terms of custom audiences for this ad account",
        f"have a person with access accept them at {TERMS}",
        "terms",
    ),
    (2655, None): (
        "nobody has accepted the terms of custom audiences for this ad account",
        f"have a person with access accept them at {TERMS}",
        "terms",
    ),
    (200, 1870047): (
        "the removal would leave the audience too small, so Meta keeps these people in it",
        "they are still in the audience: remove the audience in Meta's Ads Manager, or let it grow first",
        "too-small",
    ),
    (100, 33): (
        "there is no such audience or ad account, or the token may not see it",
        "see that it belongs to this ad account, and that the account is assigned to the system user",
        "not-found",
    ),
    (100, 1713230): (
        "Meta has flagged the audience, and takes no change of its members",
        "resolve it in Meta's Ads Manager, under Audiences",
        "flagged",
    ),
    (2654, 1713092): (
        "the token may not make audiences in this ad account",
        "give the system user the right to manage it",
        "forbidden",
    ),
    (2654, None): ("Meta could not make the audience", "make it in Meta's Ads Manager", "refused"),
    (2650, None): ("Meta did not take the session of this upload", "let the connection run again", "session"),
    (2635, None): ("this version of the Graph API has ended", "set `version` to a newer one", "old-version"),
    (368, None): (
        "Meta has blocked the action for a while, for its policies",
        "see Meta's Business Support",
        "blocked",
    ),
    (105, None): ("there are too many rows in one request", "set a smaller `batch`", "too-large"),
    (10, None): ("the app or the token may not do this", "give it `ads_management` and the ad account", "forbidden"),
    (200, None): ("the token may not do this", "give it `ads_management`, and the ad account", "forbidden"),
    (294, None): ("the token lacks `ads_management`", "make one that has it", "forbidden"),
    (100, None): ("Meta does not take the request as it is", "see `keys`; else please report this", "refused"),
}


def explain(data: Any, *, account: str, mask: Callable[[str], str]) -> GraphError | None:
    """Return the error in the *data* of an answer, or None. *mask* makes Meta's own words fit to be shown."""
    said = data.get("error") if isinstance(data, dict) else None
    if not isinstance(said, dict):
        return None
    number, subcode = _number(said.get("code")), _number(said.get("error_subcode"))
    meaning, hint, code = _meaning(number, subcode, transient=said.get("is_transient") is True)
    words = mask(": ".join(str(said[key]) for key in ("error_user_title", "error_user_msg") if said.get(key)))
    words = words or mask(str(said.get("message", "")))
    trace = mask(str(said.get("fbtrace_id", "")))
    numbers = f"code {number}{f'/{subcode}' if subcode else ''}{f', fbtrace_id {trace}' if trace else ''}"
    return GraphError(
        f"{meaning}: Meta says {words or 'nothing more'} ({numbers})",
        hint=hint.replace("{account}", account.removeprefix("act_")),
        code=code,
        number=number,
        subcode=subcode,
        waiting_helps=code in ("throttled", "server-error", "session"),
    )


def _meaning(number: int, subcode: int, *, transient: bool) -> tuple[str, str, str]:
    found = _MEANINGS.get((number, subcode)) or _MEANINGS.get((number, None))
    if number in THROTTLED:
        hint = "let it run less often, or ask Meta for Full access, which has a higher limit"
        return "Meta takes no more calls for now", hint, "throttled"
    if number in TEMPORARY or transient:
        return "Meta failed, and may not the next time", "try again later", "server-error"
    return found or ("Meta refuses", "see its words", "refused")


def _number(value: Any) -> int:
    return int(value) if isinstance(value, int | str) and str(value).isdecimal() else 0
