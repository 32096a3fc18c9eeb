"""`connrunner web`: the page of a workspace, and its HTTP interface."""

from __future__ import annotations

import click

from connrunner.cli.options import CommandContext, with_context
from connrunner.config import place
from connrunner.errors import ArgumentError

INSTALL = "install it with `pip install 'connrunner[web]'`"


@click.command()
@click.option("--listen", metavar="ADDRESS:PORT", help="Where to listen; wins over `web.listen` of connrunner.yaml.")
@click.option("--access-log", "with_access_log", is_flag=True, help="Write a line for each request to standard error.")
@with_context()
def web_command(context: CommandContext, listen: str | None, with_access_log: bool) -> None:
    """Serve the page: queue, runs, logs, Run now and Stop, and the same as JSON for programs, until Ctrl-C.

    On 127.0.0.1:8080 unless `web` in connrunner.yaml says otherwise; without tokens or a proxy there, for your own
    account on this machine only. It reads beside ticks and keeps none of them waiting.
    """
    try:
        from connrunner.web import page_server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("anyio", "h11", "starlette", "uvicorn"):
            raise
        raise ArgumentError(f"the page needs {error.name}, which is not installed", hint=INSTALL) from None
    folder, state = context.view.folder, context.view.state.root
    is_declared = str(state) == place.state_folder(str(folder), None)  # then an edit of `state` is followed
    wanted = None if is_declared else state
    page_server.serve_page(folder, wanted, listen=listen, with_access_log=with_access_log, say=click.echo)
