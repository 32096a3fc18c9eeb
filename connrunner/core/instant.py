"""Instants as text: RFC 3339 in UTC with `Z`, whole milliseconds only where there are any."""

from __future__ import annotations

from datetime import UTC, datetime


def text(instant: datetime) -> str:
    """Return *instant* (aware) as `2026-11-22T09:15:00Z`, or with three decimals when it has a fraction."""
    instant = instant.astimezone(UTC)
    spec = "milliseconds" if instant.microsecond // 1000 else "seconds"
    return instant.replace(tzinfo=None).isoformat(timespec=spec) + "Z"


def parse(value: str) -> datetime:
    """Return the instant that an RFC 3339 text names, as aware UTC. ValueError without an offset."""
    instant = datetime.fromisoformat(value)
    if instant.tzinfo is None:
        raise ValueError(f"{value!r} has no offset; write it as 2026-11-22T09:15:00Z")
    return instant.astimezone(UTC)


def minute(instant: datetime) -> datetime:
    """Return *instant* floored to its whole minute, in UTC: what a tick takes for now [R5]."""
    return instant.astimezone(UTC).replace(second=0, microsecond=0)


def local(instant: datetime, zone: str) -> str:
    """Return *instant* in *zone*, to the second and with its offset."""
    shown = _in_zone(instant, zone)
    return shown.strftime("%Y-%m-%d %H:%M:%S ") + _offset(shown)


def local_minute(instant: datetime, zone: str) -> str:
    """Return *instant* in *zone*, to the minute and with its offset and weekday."""
    shown = _in_zone(instant, zone)
    return shown.strftime("%a %Y-%m-%d %H:%M ") + _offset(shown)


def _offset(shown: datetime) -> str:
    text = shown.strftime("%z")
    return f"{text[:3]}:{text[3:5]}"


def _in_zone(instant: datetime, zone: str) -> datetime:
    from zoneinfo import ZoneInfo  # a caller that only writes UTC does not pay for it

    return instant.astimezone(ZoneInfo(zone))
