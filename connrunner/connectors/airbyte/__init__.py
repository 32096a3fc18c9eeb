"""Sources of Airbyte, third-party programs that bring rows, and APIs that a declarative manifest describes.

Import:

    import:
      from: {type: airbyte, package: "airbyte-source-faker==7.2.1", stream: users, config: {count: 1000}}

`package` is a source on PyPI, pinned to one version; `with` lists further packages to install beside it, pinned too,
and `python` names the interpreter (that of connrunner without it). `connrunner connectors install` puts each into an
environment of its own in the state folder; a run never installs anything. Only wheels are installed; `build` lists
packages that have none and may be built from their source, which runs their code. `connrunner connectors lock` writes
all that the package needs, with hashes, into `locks` of the workspace; then that is installed and nothing else.
`program` is for a package that brings several. With `command: [..]` instead of `package`, a program is run that is
there already.

An API without a source of its own needs no program, only its description, a declarative manifest in YAML as Airbyte's
connector builder writes it:

      from: {type: airbyte, package: "airbyte-cdk==7.39.1", manifest: connectors/crm.yaml, stream: contacts}

`manifest` is a file of the workspace; the package `airbyte-cdk` brings the program that reads it.

`config` is what the source wants to know, as its manual says; a secret in it is a reference (`env:NAME`, `file:/path`),
as everywhere. The source reads it from a file that only connrunner's user can read and that is gone after the run.

`stream` is the one stream that is imported. First the source checks `config`, then it is asked which streams it has.
A stream that it can read by what is new is read so, by its own cursor or the field that `cursor` names; any other is
read whole each time. Records become rows by the names of their fields; what is nested is JSON text.

The last state is kept once its rows are stored, and given to the next run. A source that says an error, ends with
another exit status than 0, or from which nothing is heard for `idle` (10m), fails the run, and the next one begins
where this one did: nothing is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from connrunner.connectors import FetchResult, Known, RunContext, Settings
from connrunner.connectors.airbyte.source import AirbyteSource
from connrunner.connectors.bridge import Dialogue, Program, programs, resume
from connrunner.connectors.bridge.rows import RowSpool
from connrunner.connectors.singer.catalog import unknown_stream
from connrunner.errors import RunError

PROTOCOL = "airbyte"
CONFIG_CHANGED = "the source has changed its own configuration, which is not kept: correct `config` before the next run"
MANIFEST_PROGRAM = "source-declarative-manifest"


def fetch(settings: Settings, context: RunContext, *, known: Known, mark: Any) -> FetchResult:  # noqa: ARG001
    """Run the source and return the rows of the stream, and its last state as the mark."""
    manifest = _manifest(settings, context)
    program = programs.find_program(settings, context, default=MANIFEST_PROGRAM if manifest else "")
    stream: str = settings["stream"]
    state = resume.read_program_state(mark, PROTOCOL, stream, context.report)
    with ExitStack() as stack:

        def private(name: str, data: Any) -> str:
            return stack.enter_context(programs.private(context, name, data))

        arguments = ["--config", private("config.json", programs.config(settings, context)), *manifest]
        _check(program, arguments, context, settings)
        chosen = _configured(_streams(program, arguments, context, settings), stream, settings.get("cursor", ""))
        is_incremental = chosen["sync_mode"] == "incremental"
        arguments += ["--catalog", private("catalog.json", {"streams": [chosen]})]
        if state is not None and is_incremental:
            arguments += ["--state", private("state.json", state)]
        rows = stack.enter_context(RowSpool(context, settings, f"{program.name}: {stream}"))
        source = AirbyteSource(program.name, context, stream=stream, rows=rows)
        _run(program, ["read", *arguments], context, settings, source)
        source.finish()
        found = source.state if is_incremental else None
        return FetchResult(
            files=rows.close(once=found is not None),
            mark=mark if found is None else resume.make_mark(PROTOCOL, stream, found),
            notes=(CONFIG_CHANGED,) if source.wants_config else (),
        )


def settle(settings: Settings, context: RunContext, fetched: FetchResult) -> None:
    """Do nothing: the mark tells the source the next time what it need not send again."""


def probe(settings: Settings, context: RunContext, *, writes: bool) -> str:  # noqa: ARG001
    """Return the program, which is installed; what it reaches is its own business."""
    program = programs.find_program(settings, context, default=MANIFEST_PROGRAM if _manifest(settings, context) else "")
    return f"{program.name} is there: {programs.locate_program(program, context)}"


def _run(
    program: Program, arguments: Sequence[str], context: RunContext, settings: Settings, source: AirbyteSource
) -> None:
    """Run the program with *source* taking what it says; RunError unless all went well."""
    rows = source.rows
    dialogue = Dialogue(take=source.take, meanwhile=rows.tell if rows else None)
    ended = programs.run_for_context(program, arguments, context, settings, dialogue)
    if source.error is not None:
        raise source.error
    if ended.failure is not None:
        raise ended.failure


def _check(program: Program, arguments: Sequence[str], context: RunContext, settings: Settings) -> None:
    source = AirbyteSource(program.name, context)
    _run(program, ["check", *arguments], context, settings, source)
    match source.found.get("CONNECTION_STATUS"):
        case {"connectionStatus": {"status": "SUCCEEDED"}}:
            return
        case {"connectionStatus": {"message": said}}:
            raise RunError(f"{program.name} refused its `config`: {said}", hint="correct it", code="refused-config")
    raise RunError(
        f"{program.name} did not say whether its `config` is right",
        hint="see in the log what it said; is it an Airbyte source?",
        code="bad-output",
    )


def _streams(
    program: Program, arguments: Sequence[str], context: RunContext, settings: Settings
) -> list[Mapping[str, Any]]:
    source = AirbyteSource(program.name, context)
    _run(program, ["discover", *arguments], context, settings, source)
    match source.found.get("CATALOG"):
        case {"catalog": {"streams": list() as streams}} if all(isinstance(each, Mapping) for each in streams):
            return streams
    raise RunError(
        f"{program.name} did not say which streams it has", hint="see in the log what it said", code="bad-output"
    )


def _configured(streams: Sequence[Mapping[str, Any]], name: str, cursor: str) -> dict[str, Any]:
    """Return the stream *name* as it is to be read; RunError when there is none."""
    for stream in streams:
        if stream.get("name") == name:
            break
    else:
        raise unknown_stream(name, [str(stream.get("name")) for stream in streams])
    field = [cursor] if cursor else stream.get("default_cursor_field") or []
    is_incremental = "incremental" in (stream.get("supported_sync_modes") or ()) and (
        bool(field) or bool(stream.get("source_defined_cursor"))
    )
    if cursor and not is_incremental:
        raise RunError(f"the stream {name!r} can only be read whole", hint="leave out `cursor`", code="no-incremental")
    return {
        "stream": stream,
        "sync_mode": "incremental" if is_incremental else "full_refresh",
        "destination_sync_mode": "append",
        "cursor_field": field,
        "primary_key": stream.get("source_defined_primary_key") or [],
    }


def _manifest(settings: Settings, context: RunContext) -> list[str]:
    """Return the arguments that name the manifest; RunError when there is no such file."""
    if "manifest" not in settings:
        return []
    path = context.workspace.absolute() / settings["manifest"]
    if not path.is_file():
        raise RunError(f"there is no manifest {settings['manifest']}", hint="correct `manifest`", code="no-manifest")
    return ["--manifest-path", str(path)]
