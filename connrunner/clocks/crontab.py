"""
A line for crontab(5).

What a tick did goes nowhere, since the state keeps it; what is wrong is printed on standard error, and cron mails that
to the owner of the crontab. Cron starts programs with a bare environment: secrets come from the file that
`--environment` names.
"""

from __future__ import annotations

import shlex

from connrunner.clocks import TickCall


def comment_of(call: TickCall) -> str:
    """Return the comment above the line: what tells our line from the others."""
    return f"# connrunner tick for {call.workspace}"


def line(call: TickCall) -> str:
    """Return the line that calls tick every minute."""
    command = f"{shlex.join(call.arguments)} >/dev/null"
    if call.environment:
        command = f"set -a; . {shlex.quote(str(call.environment))}; set +a; {command}"
    return "* * * * * " + command.replace("%", r"\%")  # crontab(5): an unescaped % begins the standard input


def with_line(crontab: str, call: TickCall) -> str:
    """Return the text of a *crontab* with our line in it, in place of an older one for the same workspace."""
    return without_line(crontab, call) + f"{comment_of(call)}\n{line(call)}\n"


def without_line(crontab: str, call: TickCall) -> str:
    """Return the text of a *crontab* without our line."""
    lines = crontab.splitlines()
    kept: list[str] = []
    while lines:
        if lines[0] == comment_of(call):
            del lines[:2]
        else:
            kept.append(lines.pop(0))
    return "".join(f"{text}\n" for text in kept)
