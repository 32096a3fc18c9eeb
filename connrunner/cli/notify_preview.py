"""`connrunner notify preview`: what people would get, before they get it."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from connrunner.answers.mail_preview import as_dict, choose_preview_folder, preview_mail
from connrunner.cli.options import CommandContext, leave, with_context
from connrunner.cli.text import clean
from connrunner.errors import ArgumentError
from connrunner.notify.render import EVENTS, RenderedMessage
from connrunner.text.files import replace_file

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("preview")
@click.argument("name")
@click.argument("run", type=click.IntRange(min=1), required=False)
@click.option("--event", type=click.Choice(EVENTS), help="What is told; without it, how the run ended.")
@click.option("--target", default="", help="For a file in notifications/: its templates.")
@click.option("--output", "folder", type=FOLDER, help="Where the HTML and the text go.")
@click.option("--open", "show", is_flag=True, help="Show the HTML in a browser.")
@with_context(reads=True, now=True)
def preview_command(
    context: CommandContext, name: str, run: int | None, event: str | None, target: str, folder: Path | None, show: bool
) -> None:
    """Show the mail about connection NAME's newest run, or about run number RUN; send nothing.

    Without a run that fits, the mail is about a made-up one. The HTML goes into a file. Exit code 1 when a template is
    broken: then the mail is the plain one that people would get.
    """
    preview = preview_mail(context.view, name, run, event=event, target=target)
    mail = preview.mail
    page = save(folder or choose_preview_folder(context.view), f"{name}-{preview.event}", mail)
    if context.json:
        context.echo_json(as_dict(preview, str(page) if page else None))
    else:
        if preview.made_up:
            click.echo(preview.made_up, err=True)
        click.echo(clean(f"Subject: {mail.subject}\n\n{mail.text}"))
        if preview.goes_to_channels:
            click.echo(clean(f"In channels: {mail.subject}\n\n{mail.chat}\n"))
        click.echo(f"HTML: {page}" if page else "no HTML: a template is broken", err=page is None)
    if show and page:
        webbrowser.open(page.resolve().as_uri())
    leave(0 if page else 1)


def save(folder: Path, stem: str, mail: RenderedMessage) -> Path | None:
    """Write the mail into *folder*; return where its HTML is, None when it has none."""
    page = folder / f"{stem}.html"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # For their owner only: rows of people may be quoted in them.
        replace_file(folder / f"{stem}.txt", f"{mail.subject}\n\n{mail.text}".encode(), durable=False)
        if mail.html is None:
            page.unlink(missing_ok=True)
            return None
        replace_file(page, mail.html.encode(), durable=False)
    except OSError as error:
        reason = f"{error.filename or folder} cannot be written: {error.strerror}"
        raise ArgumentError(reason, hint="name another folder with --output") from error
    return page
