"""
A service and a timer for systemd (systemd.service(5), systemd.timer(5)).

The service is of type `oneshot`: while a tick drains its queue the timer starts no second one, and the tick itself
looks at the clock every minute. Stopping the service ends the tick, and the tick ends its runs with their grace first.
"""

from __future__ import annotations

import re
from pathlib import Path

from connrunner.clocks import MARGIN, TickCall, page_units
from connrunner.errors import ArgumentError

ACCOUNT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\$?")

SERVICE = """\
[Unit]
Description=connrunner tick for {workspace}
Documentation=man:systemd.service(5)
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
{user}ExecStart={command}
WorkingDirectory={folder}
{environment}UMask=0077
# A run may take as long as its own timeout allows.
TimeoutStartSec=infinity
# The tick alone is told to end, and ends its runs with their grace; what is left after that is killed.
KillMode=mixed
TimeoutStopSec={grace}
# 75: another tick is at work. 130: it was told to end.
SuccessExitStatus=75 130
NoNewPrivileges=yes
ProtectSystem=full
"""

TIMER = """\
[Unit]
Description=Every minute: connrunner tick for {workspace}

[Timer]
OnCalendar=*-*-* *:*:00
AccuracySec=1s
# Missed slots are made up for by the tick itself, from its own state.
Persistent=false

[Install]
WantedBy=timers.target
"""


def units(call: TickCall, *, user: str | None = None) -> dict[str, str]:
    """Return the texts of both units by their file names; *user* is whom a system's service runs as.

    ArgumentError when a unit cannot say a path, or *user* is no name of an account.
    """
    if user is not None and not ACCOUNT.fullmatch(user):
        raise ArgumentError(f"{user!r} is no name of an account", hint="write the name alone")
    words = {
        "workspace": _whole_line(str(call.workspace)),
        "folder": _whole_line(str(call.workspace)),
        "command": " ".join(_quoted(word) for word in call.arguments),
        "environment": f"EnvironmentFile={_whole_line(str(call.environment))}\n" if call.environment else "",
        "user": f"User={user}\n" if user else "",
        "grace": call.grace + MARGIN,
    }
    name = f"connrunner-{call.name}"
    return {f"{name}.service": SERVICE.format(**words), f"{name}.timer": TIMER.format(**words)}


def page_unit(call: TickCall, *, state: Path, user: str | None = None, for_user: bool = False) -> dict[str, str]:
    """Return the text of the unit that serves the page, by its file name; *state* is the folder that it writes into.

    ArgumentError when a unit cannot say a path. `units` checks *user*.
    """
    folder = _whole_line(str(call.workspace))
    words = {
        "workspace": folder,
        "folder": folder,
        "state": _quoted(str(state)),
        "command": " ".join(_quoted(word) for word in call.words_of("web")),
        "environment": f"EnvironmentFile={_whole_line(str(call.environment))}\n" if call.environment else "",
        "user": f"User={user}\n" if user else "",
        "target": "default.target" if for_user else "multi-user.target",
    }
    return {f"connrunner-{call.name}-web.service": page_units.UNIT.format(**words)}


def _whole_line(path: str) -> str:
    """Return *path* as the rest of a line, which has no quotes: its end would be cut off, or join the next line."""
    if path.endswith((" ", "\\")):
        raise ArgumentError(f"systemd cannot be told of {path!r}", hint="rename it: without a blank or \\ at its end")
    return _escaped(path)


def _escaped(text: str) -> str:
    """Return *text* without specifiers: systemd replaces what follows a per cent sign."""
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """Return one word of ExecStart; systemd replaces variables, too, and undoes backslashes."""
    text = _escaped(word).replace("\\", "\\\\").replace("$", "$$").replace('"', '\\"')
    return f'"{text}"' if any(sign in word for sign in " \t'\"\\;") else text
