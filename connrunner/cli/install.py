"""`connrunner install`: what calls tick every minute."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click

from connrunner import __version__
from connrunner.cli.options import CommandContext, with_context
from connrunner.clocks import TickCall, crontab, kubernetes, systemd
from connrunner.core.model import GRACE
from connrunner.errors import ArgumentError

ENVIRONMENT = click.option(
    "--environment",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file of NAME=value lines: the secrets that `env:` names.",
)
WEB = click.option("--web", "with_page", is_flag=True, help="Also what serves the page.")
WRITE = click.option("--write", is_flag=True, help="Write it to where it belongs instead of printing it.")


@click.group()
def install_command() -> None:
    """Have `tick` called every minute: by cron, systemd or Kubernetes.

    Each prints what is needed, or writes it with --write.
    """


@install_command.command("cron")
@ENVIRONMENT
@WRITE
@click.option("--remove", is_flag=True, help="Take the line out of your crontab.")
@with_context()
def cron_command(context: CommandContext, environment: Path | None, write: bool, remove: bool) -> None:
    """Print the line for a crontab, or put it into yours."""
    call = call_for(context, environment)
    if not write and not remove:
        click.echo(f"{crontab.comment_of(call)}\n{crontab.line(call)}")
        return
    before = _crontab("-l")
    after = crontab.without_line(before, call) if remove else crontab.with_line(before, call)
    if after == before:
        click.echo("your crontab already says so" if write else "your crontab has no such line")
        return
    _crontab("-", after)
    click.echo(f"{'taken out of' if remove else 'written to'} your crontab; look at it with `crontab -l`")


@install_command.command("systemd")
@ENVIRONMENT
@WRITE
@click.option("--user", "for_user", is_flag=True, help="Units of your own account, not of the system.")
@click.option("--run-as", metavar="ACCOUNT", help="The account that a system's service runs as.")
@click.option("--into", type=click.Path(path_type=Path, file_okay=False), help="Write to this folder.")
@WEB
@with_context()
def systemd_command(
    context: CommandContext,
    environment: Path | None,
    write: bool,
    for_user: bool,
    run_as: str | None,
    into: Path | None,
    with_page: bool,
) -> None:
    """Print a service and a timer, or write them to where systemd looks."""
    if for_user and run_as:
        raise ArgumentError("--user and --run-as exclude each other", hint="units of an account run as that account")
    call = call_for(context, environment)
    texts = systemd.units(call, user=run_as)
    if with_page:
        texts |= systemd.page_unit(call, state=context.view.state.root, user=run_as, for_user=for_user)
    own = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd/user"
    folder = into or (own if for_user else Path("/etc/systemd/system"))
    if not _shown_or_written(texts, folder, write=write or into is not None):
        return
    scope = " --user" if for_user else ""
    timer = next(name for name in texts if name.endswith(".timer"))
    click.echo("type next:")
    click.echo(f"  systemctl{scope} daemon-reload && systemctl{scope} enable --now {timer}")
    click.echo(f"  systemctl{scope} list-timers {timer}      # when it ticks next")
    click.echo(f"  journalctl{scope} --unit {timer.replace('.timer', '.service')}")
    if with_page:
        click.echo(f"  systemctl{scope} enable --now {timer.replace('.timer', '-web.service')}")
    if for_user:
        click.echo("  loginctl enable-linger                # or it ticks only while you are logged in")


@install_command.command("kubernetes")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path("kubernetes"))
@WRITE
@click.option("--image", default="connrunner", show_default=True, help="The image, with or without a tag.")
@click.option("--git", "repository", metavar="URL", help="git-sync clones this repository before each tick.")
@click.option("--ref", default="main", show_default=True, help="What git-sync checks out.")
@click.option("--folder-in-git", default="", help="Where in the repository connrunner.yaml is.")
@WEB
@with_context()
def kubernetes_command(
    context: CommandContext,
    folder: Path,
    write: bool,
    image: str,
    repository: str | None,
    ref: str,
    folder_in_git: str,
    with_page: bool,
) -> None:
    """Print a Kustomize base, or write it to FOLDER (default: kubernetes).

    A CronJob, a claim for the state, and a Dockerfile for the image. Without --git the image holds the workspace. With
    connections whose `executor` is Kubernetes also the accounts and rights that their runs need.
    """
    call, connections = call_for(context, None), context.view.workspace.connections
    name = f"connrunner-{call.name}"[:52].rstrip("-")  # a CronJob's name: at most 52 characters
    parts: list[kubernetes.Part] = ["page"] if with_page else []
    if any(one.executor and one.executor["type"] == "kubernetes" for one in connections.values()):
        parts.append("runs")
    texts = kubernetes.base(
        name,
        version=__version__,
        image=image,
        repository=repository,
        ref=ref,
        folder=folder_in_git,
        grace=call.grace,
        parts=parts,
    )
    if not _shown_or_written(texts, folder, write=write):
        return
    build_context = "." if repository is None else str(folder)
    click.echo("type next:")
    click.echo(f"  docker build --file {folder}/Dockerfile --tag {image} {build_context}")
    click.echo(f"  kubectl create secret generic {name}-secrets --from-env-file=secrets.env")
    click.echo(f"  kubectl apply --kustomize {folder}")
    if with_page:
        tokens = "--from-literal=PAGE_READ=... --from-literal=PAGE_ACT=..."
        click.echo(f"  kubectl create secret generic {name}-web-secrets {tokens}      # as `web.tokens` names them")
        click.echo(f"  kubectl port-forward service/{name}-web 8080:80")


def call_for(context: CommandContext, environment: Path | None) -> TickCall:
    """Return how tick is called for the workspace: by the connrunner that this is, wherever it is installed."""
    beside = Path(sys.executable).with_name("connrunner")
    found = beside if beside.exists() else Path(shutil.which("connrunner") or beside)
    if environment is not None and not environment.is_file():
        raise ArgumentError(f"there is no file {environment}", hint="write NAME=value lines into it, mode 0600")
    declared = context.view.folder / context.view.workspace.state
    return TickCall(
        program=found,
        workspace=context.view.folder,
        state=context.view.state.root if context.view.state.root != Path(os.path.normpath(declared)) else None,
        environment=environment.absolute() if environment else None,
        grace=max((one.grace for one in context.view.workspace.connections.values()), default=GRACE),
    )


def _shown_or_written(texts: dict[str, str], folder: Path, *, write: bool) -> bool:
    """Print files for people, or write them to *folder*; tell whether they were written."""
    if not write:
        for name, text in texts.items():
            click.echo(f"# --- {folder / name}\n{text}")
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text)
            click.echo(f"wrote {folder / name}")
    except OSError as error:
        raise ArgumentError(
            f"{error.filename or folder}: {error.strerror}", hint="name another folder, or be its owner"
        ) from error
    return True


def _crontab(argument: str, text: str | None = None) -> str:
    """Run crontab(1), which alone may read and write the crontab of an account."""
    program = shutil.which("crontab")
    if program is None:
        raise ArgumentError("there is no `crontab` here", hint="install cron, or `connrunner install systemd`")
    done = subprocess.run([program, argument], input=text, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode and not (argument == "-l" and "no crontab" in done.stderr):
        raise ArgumentError(f"crontab says: {done.stderr.strip()}", hint="may this account have a crontab?")
    return done.stdout
