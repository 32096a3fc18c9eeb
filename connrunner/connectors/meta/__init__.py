"""Custom audiences of Meta (Facebook, Instagram): profiles become members, and leave it again.

Export:

    export:
      to: {type: meta, account: "1234567890", audience: Newsletter readers, create: true,
           token: "env:META_TOKEN", country: NL,
           keys: {crm_id: EXTERN_ID, email: EMAIL, phone: PHONE, first_name: FN, born: [DOBY, DOBM, DOBD]}}
      fields: {crm_id: crm_id, email: email, phone: phone, first_name: first_name, born: birthday}
      objectives: [advertising]
      deleted: send

`account` is the ad account, with `act_` before it or without. The audience is that of `audience_id`, or the one whose
name is `audience`; two of one name are an error. With `create: true` one that is missing is made, and
`customer_file_source` says where its people come from. `token` is best that of a system user with `ads_management` to
whom the ad account is assigned: it does not expire. With `app_secret` each request proves that it is the app's.

`keys` says for each column of `fields` which of Meta's keys is made of it, or which several: EXTERN_ID, MADID, EMAIL,
PHONE, GEN, DOBY, DOBM, DOBD, LN, FN, FI, CT, ST, ZIP, COUNTRY. Values are normalised and hashed (SHA-256) here, by
Meta's rules, except for EXTERN_ID and MADID; those in the columns of `hashed` are hashes already. A phone number
without the code of a country gets that of the profile's COUNTRY, or of `country`, and without any of them is not used.
A property that is `many` makes a row for each value. A profile of which no key is left but EXTERN_ID and COUNTRY is
refused (`no-key`). A value that cannot be used is left out, and counted in the log.

- `operation: add` (the default) adds those who are selected. With `deleted: send`, those who left the selection,
  withdrew their consent or were erased are removed by the next run, with the hashes that they were added with; a
  profile whose hashes changed is added anew, and its old row removed. A row that another profile has, too, stays.
- `operation: remove` removes those who are selected.
- `operation: replace` makes the audience hold those who are selected, and nobody else: use it with `rows: all`. The
  very rows of the last time are not sent again.

Whom the audience holds stands in `ledgers/NAME/members.sqlite` of the state folder, as hashes, until a removal has
arrived. So a run that was killed or failed goes on where it ended, and `rows: all` sends nothing twice. Before a batch
is sent again whose answer was lost, its upload session is asked whether it arrived. After `connrunner reset NAME` all
are sent again, and who is not among them is removed. Another audience than the one that was filled is an error
(`other-audience`) until then.

A request carries at most `batch` rows (10000), and half as many when Meta finds it too large. When Meta takes no more
calls, a run waits as long as Meta says, up to half an hour at a time; from 75 % of a limit on it slows down. Meta says
how many rows it received and how many are invalid, not which, and never how many it matched, which takes it up to a
day: the message of a run has these two numbers.

`graph_url` is another address than that of Meta, over https or of this machine; `version` another version of the Graph
API. `ca_file` is a PEM file with the authorities to trust, and `timeout` (60s) how long Meta may send nothing.

What only the real service can show: whether rows match; how long an unfinished session holds an audience; whether
`sessions` counts at once what a request brought; how removals by several keys meet people who share one. To try it,
make an audience of your own, send ten colleagues who agreed, and look at Meta's Ads Manager a day later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from connrunner.connectors import ComparedRows, RunContext, SendResult, Settings
from connrunner.core.model import Format
from connrunner.errors import RunError

if TYPE_CHECKING:
    from connrunner.connectors.meta.audience import Audience
    from connrunner.connectors.meta.graph import Graph

KEEPS_LEDGER = True


def form(settings: Settings, wanted: Format) -> Format:  # noqa: ARG001
    """Return JSON lines, whatever is wanted."""
    return Format(type="jsonl", compression="none")


def target(settings: Settings, context: RunContext) -> str:
    """Return how people call the audience, after a look at it; RunError when rows cannot arrive there."""
    return str(_look(settings, context)[0])


def deliver(settings: Settings, context: RunContext, local: Path) -> SendResult:
    """Let the audience hold what the rows of the file *local* say."""
    from connrunner.connectors.meta import export

    with _open_graph(settings, context) as graph:
        return export.send_rows(graph, settings, context, local)


def compare_rows(
    settings: Settings, context: RunContext, local: Path, samples: Sequence[Mapping[str, str | None]]
) -> ComparedRows:
    """Return which rows nobody could be found by, and what of *samples* is not what the audience was given."""
    _open_graph(settings, context).__exit__(None, None, None)  # for what it needs
    from connrunner.connectors.meta import member_comparison

    return member_comparison.compare_members(settings, context, local, samples)


def probe(settings: Settings, context: RunContext, *, writes: bool) -> str:  # noqa: ARG001
    """Return the audience that would take the rows."""
    audience, token = _look(settings, context)
    return f"{audience}: Meta takes the token, and the terms are accepted{'; ' if token else ''}{token}"


def _look(settings: Settings, context: RunContext) -> tuple[Audience, str]:
    from connrunner.connectors.meta import export

    with _open_graph(settings, context) as graph:
        return export.look(graph, settings, context)


def _open_graph(settings: Settings, context: RunContext) -> Graph:
    try:
        from connrunner.connectors.meta import normalization  # noqa: F401 - it needs the extra, too
        from connrunner.connectors.meta.graph import Graph
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("urllib3", "phonenumbers"):
            raise
        raise RunError(
            f"the connector meta needs the extra `meta` ({error.name} is not installed)",
            hint="pip install 'connrunner[meta]'",
            code="missing-extra",
        ) from None
    return Graph(settings, context)
