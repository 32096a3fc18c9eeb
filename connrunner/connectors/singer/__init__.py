"""Third-party programs that speak Singer: taps bring rows, targets take them.

Import:

    import:
      from: {type: singer, package: "tap-jsonl==0.3.1", stream: people, config: {path: "in/*.jsonl"}}

`package` is a tap on PyPI, pinned to one version; `with` lists further packages to install beside it, pinned too, and
`python` names the interpreter (that of connrunner without it). `connrunner connectors install` puts each into an
environment of its own in the state folder; a run never installs anything. Only wheels are installed; `build` lists
packages that have none and may be built from their source, which runs their code. `connrunner connectors lock` writes
all that the package needs, with hashes, into `locks` of the workspace; then that is installed and nothing else.
`program` is for a package that brings several. With `command: [python3, taps/mine.py]` instead of `package`, a program
is run that is there already.

`config` is what the tap wants to know, as its manual says; a secret in it is a reference (`env:NAME`, `file:/path`), as
everywhere. The tap reads it from a file that only connrunner's user can read and that is gone after the run. `{spool}`
in it stands for a folder that is gone then too: the place for the files of a tap with `batch_config`. The tap works in
the workspace's folder.

`stream` is the one stream that is imported. The tap is asked with `--discover` which streams it has, and told to read
this one, with all its fields; a tap that cannot be asked reads them all, and the other streams' rows are left out. With
`catalog: path` the catalog is read from a file of the workspace instead, and with `catalog: false` the tap is neither
asked nor told, because some end in an error when they are told. `cursor` names the field by which only what is
new is read, for taps that leave the choice to the catalog. Records become rows by the names of their fields; what is
nested is JSON text. BATCH files (JSON lines or Parquet, on this machine) are taken as they are.

The tap's last STATE is kept once its rows are stored, and given to the next run. A tap that ends with another exit
status than 0, or from which nothing is heard for `idle` (10m), fails the run, and the next one begins where this one
did: nothing is lost.

Export:

    export:
      to: {type: singer, package: "target-jsonl==0.1.4", stream: people, keys: [Email], config: {destination_path: out}}

The target gets a SCHEMA with a text for each column (`keys` names those that identify a row), a RECORD for each row and
a STATE at the end. The STATE comes back once everything before it is written: without it, with an exit status other
than 0, or when the target itself counts other rows than it was sent, the export fails and the next run sends all of it
again. An export without rows starts no target.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from connrunner.connectors import FetchResult, Known, RunContext, SendResult, Settings
from connrunner.connectors.bridge import Dialogue, programs, resume
from connrunner.connectors.bridge.rows import RowSpool
from connrunner.connectors.singer import catalog as catalogs
from connrunner.connectors.singer import target as targets
from connrunner.connectors.singer.tap import Tap, discover
from connrunner.core.model import Format
from connrunner.errors import RunError
from connrunner.text.nesting import parse_json

PROTOCOL = "singer"


def fetch(settings: Settings, context: RunContext, *, known: Known, mark: Any) -> FetchResult:  # noqa: ARG001
    """Run the tap and return the rows of the stream, and its last STATE as the mark."""
    program = programs.find_program(settings, context)
    stream: str = settings["stream"]
    state = resume.read_program_state(mark, PROTOCOL, stream, context.report)
    with ExitStack() as stack:

        def private(name: str, data: Any) -> str:
            return stack.enter_context(programs.private(context, name, data))

        config = private("config.json", programs.config(settings, context))
        arguments = ["--config", config]
        match settings.get("catalog"):
            case None:
                catalog = discover(program, config, context, settings)
            case False:
                catalog = None
            case path:
                catalog = _catalog_file(context.workspace, path)
        if catalog is not None:
            catalog = catalogs.select(catalog, stream, cursor=settings.get("cursor", ""))
            arguments += ["--catalog", private("catalog.json", catalog)]
        if state is not None:
            arguments += ["--state", private("state.json", state)]
        rows = stack.enter_context(RowSpool(context, settings, f"{program.name}: {stream}"))
        tap = Tap(program.name, stream, rows, context)
        ended = programs.run_for_context(
            program, arguments, context, settings, Dialogue(take=tap.take, meanwhile=rows.tell)
        )
        if ended.failure is not None:
            raise ended.failure
        tap.finish(stream_is_known=catalog is not None)
        comes_again = tap.state is None or catalogs.reads_all(catalog, stream)
        return FetchResult(
            files=rows.close(once=not comes_again),
            mark=mark if tap.state is None else resume.make_mark(PROTOCOL, stream, tap.state),
        )


def settle(settings: Settings, context: RunContext, fetched: FetchResult) -> None:
    """Do nothing: the mark tells the tap the next time what it need not send again."""


def form(settings: Settings, wanted: Format) -> Format:  # noqa: ARG001
    """Return JSON lines: that is what the messages are made of."""
    return Format(type="jsonl", compression="none")


def target(settings: Settings, context: RunContext) -> str:
    """Return the name of the stream; RunError when the target is not installed."""
    programs.find_program(settings, context)
    return f"{settings['stream']}.jsonl"


def deliver(settings: Settings, context: RunContext, local: Path) -> SendResult:
    """Send the rows to the target, all of them or, as far as anybody can know, none."""
    program = programs.find_program(settings, context)
    stream = settings["stream"]
    where = f"the stream {stream!r} of {program.name}"
    receipt = {"connection": context.connection, "run": context.run}
    path = context.spool / "messages.singer"
    rows = targets.messages(local, path, stream, keys=settings.get("keys", ()), receipt=receipt)
    if not rows:
        context.report.message(f"there are no rows, so {program.name} was not started")
        return SendResult(where=where)
    with programs.private(context, "config.json", programs.config(settings, context)) as config:
        targets.send(program, path, context, settings, config=config, rows=rows, receipt=receipt)
    return SendResult(where=where)


def probe(settings: Settings, context: RunContext, *, writes: bool) -> str:  # noqa: ARG001
    """Return the program, which is installed; what it reaches is its own business."""
    program = programs.find_program(settings, context)
    return f"{program.name} is there: {programs.locate_program(program, context)}"


def _catalog_file(workspace: Path, name: str) -> Any:
    try:
        return parse_json((workspace / name).read_bytes())
    except OSError as error:
        reason, hint = error.strerror, "write it with `--discover`, or correct `catalog`"
    except ValueError as error:
        reason, hint = f"it is no JSON: {error}", "write it with `--discover`"
    raise RunError(f"cannot read the catalog {name}: {reason}", hint=hint, code="bad-catalog")
