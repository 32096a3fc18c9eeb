"""`connrunner notify`: the mail that waits and the mail that was given up."""

from __future__ import annotations

import click

from connrunner.cli.notify_preview import preview_command


@click.group(name="notify")
def notify_command() -> None:
    """Show the mail that waits or was given up; send it again, or give it up."""


notify_command.add_command(preview_command)
