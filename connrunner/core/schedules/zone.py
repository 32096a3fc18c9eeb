"""Time zones by their IANA name."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from connrunner.text.words import listed, similar

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

LONGEST_ABBREVIATION = 5  # characters
_ANY = "write an IANA name such as Europe/Amsterdam"
_OF_REGION = {  # what people who write a region alone may mean
    "africa": ("Africa/Cairo", "Africa/Johannesburg", "Africa/Lagos"),
    "america": ("America/Chicago", "America/New_York", "America/Sao_Paulo"),
    "asia": ("Asia/Dubai", "Asia/Kolkata", "Asia/Tokyo"),
    "australia": ("Australia/Brisbane", "Australia/Perth", "Australia/Sydney"),
    "europe": ("Europe/Amsterdam", "Europe/Berlin", "Europe/London"),
    "us": ("America/Chicago", "America/Los_Angeles", "America/New_York"),
}
_OF_ABBREVIATION = {  # of standard and of summer time
    **dict.fromkeys(("cest", "mez", "mesz"), ("Europe/Amsterdam", "Europe/Berlin", "Europe/Paris")),
    **dict.fromkeys(("eest", "oez", "oesz"), ("Europe/Athens", "Europe/Helsinki", "Europe/Kyiv")),
    "west": ("Europe/Lisbon",),
    "bst": ("Europe/London",),
    "msk": ("Europe/Moscow",),
    **dict.fromkeys(("et", "edt"), ("America/New_York",)),
    **dict.fromkeys(("ct", "cdt"), ("America/Chicago",)),
    **dict.fromkeys(("mt", "mdt"), ("America/Denver",)),
    **dict.fromkeys(("pt", "pst", "pdt"), ("America/Los_Angeles",)),
    "cst": ("America/Chicago", "Asia/Shanghai"),
    "ist": ("Asia/Kolkata", "Asia/Jerusalem", "Europe/Dublin"),
    "jst": ("Asia/Tokyo",),
    "kst": ("Asia/Seoul",),
    "sgt": ("Asia/Singapore",),
    **dict.fromkeys(("aest", "aedt"), ("Australia/Sydney", "Australia/Brisbane")),
    **dict.fromkeys(("nzst", "nzdt"), ("Pacific/Auckland",)),
    "brt": ("America/Sao_Paulo",),
    "sast": ("Africa/Johannesburg",),
    **dict.fromkeys(("z", "utc0", "gmt00:00", "utc+0", "utc-0", "gmt+00", "gmt+00:00", "utc+00:00"), ("UTC",)),
}
_DOUBTS = {  # names that are sound and seldom meant
    "Factory": "means that no zone was set; write UTC, or the zone that is meant",
    "EST": "is 5 hours behind UTC all year, in summer, too; the clock of New York is America/New_York",
    "MST": "is 7 hours behind UTC all year, in summer, too; the clock of Denver is America/Denver",
}


@cache
def list_zones() -> frozenset[str]:
    """Return every IANA name, as the `tzdata` package lists them.

    `ZoneInfo` alone would also take what one host happens to have: `localtime`, `posixrules`, `right/...`, on some
    file systems `europe/amsterdam`. The same workspace must mean the same everywhere [R1].
    """
    import pkgutil  # a tick with nothing due needs neither this nor a zone

    listing = pkgutil.get_data("tzdata", "zones")
    assert listing is not None, "the package tzdata is a dependency"
    return frozenset(listing.decode().split())


@cache  # ZoneInfo itself keeps only the last eight alive
def load_zone(name: str) -> ZoneInfo:
    """Return the zone called *name*; ValueError when there is no such IANA name."""
    if name not in list_zones():
        raise ValueError(f"unknown timezone {name!r:.60}; {advise(name)}")

    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


def find_doubt(name: str) -> str:
    """Return what the sound zone *name* means that its writer may not have meant; empty when nothing is odd."""
    return _DOUBTS.get(name, "")


def advise(name: str) -> str:
    """Return what to write in the place of *name*, which is no IANA name."""
    wanted = name.strip().casefold().replace(" ", "_")
    exact = sorted(zone for zone in list_zones() if zone.casefold() == wanted)
    if exact:
        return f"did you mean {exact[0]!r}?"
    if offset := _read_offset(wanted):
        return _of_offset(*offset)
    if meant := _OF_ABBREVIATION.get(wanted) or _OF_REGION.get(wanted.rstrip("/")):
        return (
            f"write {listed(meant, 'or')}" if len(meant) == 1 else f"write a whole name, such as {listed(meant, 'or')}"
        )
    cities = sorted(zone for zone in list_zones() if zone.casefold().endswith(f"/{wanted}"))
    if wanted and cities:
        return f"did you mean {listed(map(repr, cities), 'or')}?"
    if len(wanted) <= LONGEST_ABBREVIATION or any(char.isdecimal() for char in wanted):
        return _ANY  # those differ in one character and by hours: none is guessed
    by_folded = {zone.casefold(): zone for zone in sorted(list_zones())}
    close = similar(wanted, by_folded, cutoff=0.75)
    return f"did you mean {by_folded[close[0]]!r}?" if close else _ANY


def _read_offset(text: str) -> tuple[int, int] | None:
    """Return hours and minutes of an offset such as `+02:00`, `utc-5` or `gmt+5`; None when it is none."""
    import re

    found = re.fullmatch("(?:utc|gmt)?([+-])([0-9]{1,2}):?([0-9]{2})?", text)
    if found is None:
        return None
    sign = -1 if found[1] == "-" else 1
    return sign * int(found[2]), sign * int(found[3] or 0)


def _of_offset(hours: int, minutes: int) -> str:
    if not hours and not minutes:
        return "write UTC"
    name = f"Etc/GMT{-hours:+d}"
    if minutes or name not in list_zones():
        return "name a city whose clock that is, such as Asia/Kolkata"
    ahead = "ahead of" if hours > 0 else "behind"
    return f"write {name}, which is {abs(hours)} h {ahead} UTC, or a city whose clock also knows summer time"
