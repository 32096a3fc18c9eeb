"""Time zones by their IANA name."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from connrunner.text.words import nearest

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo


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
        raise ValueError(f"unknown timezone {name!r:.60}; {_advice(name)}")

    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


def _advice(name: str) -> str:
    meant = nearest(name, sorted(list_zones()), cutoff=0.75)
    return f"did you mean {meant!r}?" if meant else "write an IANA name such as Europe/Amsterdam"
