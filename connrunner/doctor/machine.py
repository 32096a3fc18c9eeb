"""What connrunner stands on: Python, packages, the clock, the time-zone database."""

from __future__ import annotations

import ctypes
import importlib.metadata
import platform
import re
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from connrunner import __version__
from connrunner.config import zones
from connrunner.connectors.extras import find_needed_extras
from connrunner.core.model import Workspace
from connrunner.doctor import Check, failure, ok, warning
from connrunner.notify.channel import is_channel
from connrunner.text import durations

FLOOR = re.compile(r"([A-Za-z0-9._-]+)(?:\[.*?\])?.*?>=([0-9.]+)")
# The only marker among our own requirements: what a newer Python brings itself.
OLDER_PYTHON = re.compile(r"""python_version < ['"]3\.(\d+)['"]""")
TIME_ERROR = 5  # what adjtimex(2) returns while nothing keeps the clock right
OLD_ZONES = timedelta(days=550)  # governments change a zone somewhere several times a year
SLACK = timedelta(minutes=2)  # between the clock and what was recorded by it


def check_python() -> Iterator[Check]:
    """Yield how this connrunner is installed."""
    yield ok("Python", f"connrunner {__version__}, Python {platform.python_version()} at {sys.executable}")


def check_packages() -> Iterator[Check]:
    """Yield whether each package that connrunner cannot do without is here, and not too old."""
    wrong = []
    for text in importlib.metadata.requires("connrunner") or ():
        found = FLOOR.match(text)
        older = OLDER_PYTHON.search(text)
        if found is None or "extra ==" in text or (older and sys.version_info >= (3, int(older[1]))):
            continue
        name, floor = found.groups()
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        if _numbers(version) < _numbers(floor):
            wrong.append(f"{name} is {version}, and {floor} is the oldest that will do")
    if wrong:
        yield failure("packages", "; ".join(wrong), f"{sys.executable} -m pip install --upgrade connrunner")
    else:
        yield ok("packages", "all are here")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def check_extras(workspace: Workspace) -> Iterator[Check]:
    """Yield whether the optional packages that the workspace needs are installed."""
    needed: dict[str, list[str]] = {}
    told = [name for name, target in workspace.targets.items() if any(map(is_channel, target.recipients))]
    if told and find_spec("apprise") is None:
        needed["apprise"] = [f"notifications/{name} (a channel)" for name in told]
    for connection in workspace.connections.values():
        for each in find_needed_extras(connection.work):
            needed.setdefault(each.extra, []).append(f"{connection.name} ({each.what})")
    for extra, who in sorted(needed.items()):
        more = f" and {len(who) - 3} more" if len(who) > 3 else ""
        fix = f"{sys.executable} -m pip install 'connrunner[{extra}]'"
        yield failure("extras", f"{', '.join(who[:3])}{more} cannot do without the extra {extra!r}", fix)
    if not needed:
        yield ok("extras", "every connection has what it needs")


def check_clock(now: datetime, *, seen: datetime | None) -> Iterator[Check]:
    """Yield whether the clock can be believed; *seen* is the newest instant that it has shown before."""
    kept = is_synchronised()
    if seen is not None and seen > now + SLACK:
        found = f"it says {_minute(now)}, and what is recorded says it was {_minute(seen)} before"
        yield failure("clock", found, "set the clock right, and let NTP keep it: `timedatectl set-ntp true`")
    elif kept is False:
        found = f"{_minute(now)}; nothing keeps it right (NTP does not run, or has not reached a server)"
        yield warning("clock", found, "`timedatectl set-ntp true`; in a container the host's clock counts")
    else:
        slept = time_asleep()
        span = durations.roughly(slept.total_seconds())
        nap = f"; since it started, this machine slept for {span}: no tick came then" if slept > SLACK else ""
        yield ok("clock", f"{_minute(now)}{', kept right by NTP' if kept else ''}{nap}")


def time_asleep() -> timedelta:
    """Return how long the machine has been suspended since it started; only one of its clocks goes on meanwhile."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return timedelta(0)
    return timedelta(seconds=time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC))


def is_synchronised() -> bool | None:
    """Tell whether the kernel knows that its clock is kept right (adjtimex(2)); None where it cannot be asked."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        answer = libc.adjtimex(ctypes.create_string_buffer(1024))  # struct timex; all zero: only read
    except (OSError, AttributeError):
        return None
    return None if answer < 0 else answer != TIME_ERROR


OF_SYSTEM = "the system's package tzdata"


def check_zone_data(names: Iterable[str], now: datetime) -> Iterator[Check]:
    """Yield whether the time-zone database is one of our time, and knows each zone of *names*."""
    database = zones.choose()
    version, names = database.version, sorted(set(names))
    lost = []
    for name in names:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            lost.append(name)
    fix = f"{sys.executable} -m pip install --upgrade tzdata, or {OF_SYSTEM}"
    found = f"{version or 'of an unknown version'}, {database.folder} ({_why(database)})"
    if lost:
        yield failure("time zones", f"{', '.join(lost)} cannot be found in {found}", fix)
    elif version[:4].isdigit() and now - datetime(int(version[:4]), 12, 31, tzinfo=UTC) > OLD_ZONES:
        yield warning("time zones", f"{found} is old: clock changes since then are not known", fix)
    elif differing := zones.find_differing(names, now):
        other = next(one for one in (zones.find_system(), zones.find_package()) if one != database and one is not None)
        about = f"; {', '.join(differing)}: otherwise by the older one {other.name}, which other programs may use"
        how = f"{sys.executable} -m pip install --upgrade tzdata" if other == zones.find_package() else OF_SYSTEM
        yield warning("time zones", f"{found}{about}", f"bring {other.folder} up to date: {how}")
    else:
        yield ok("time zones", found)


def _why(database: zones.ZoneDatabase) -> str:
    """Return in words why *database* counts."""
    others = [one for one in (zones.find_system(), zones.find_package()) if one is not None and one != database]
    if zones.CHOSEN_BY_HAND:
        return "PYTHONTZPATH says so"
    if not others:
        return database.name
    other = f"that {others[0].name} is {others[0].version or 'of an unknown version'}"
    return f"{database.name}; {other}"


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
