"""Parts of pictures: elements of SVG as values, which a template writes."""

from __future__ import annotations

from collections.abc import Mapping

from connrunner.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """One element, with what is said of it under the pointer, or what it writes."""

    tag: str
    attributes: Mapping[str, str]
    title: str = ""
    text: str = ""


def number(value: float) -> str:
    """Return *value* with two decimals at most: pictures are long texts."""
    return f"{value:.2f}".rstrip("0").rstrip(".") or "0"


def percent(value: float) -> str:
    return f"{number(value)}%"


def rectangle(
    style: str, x: float, y: float, width: float, height: float, *, title: str = "", round_by: int = 0
) -> Shape:
    """Return a rectangle; *x* and *width* are shares of the picture in percent."""
    place = {"class": style, "x": percent(x), "y": number(y), "width": percent(width), "height": number(height)}
    return Shape("rect", {**place, **({"rx": str(round_by)} if round_by else {})}, title)


def vertical(style: str, x: float, top: float, bottom: float) -> Shape:
    """Return a line from *top* to *bottom* at *x* percent."""
    return Shape("line", {"class": style, "x1": percent(x), "x2": percent(x), "y1": number(top), "y2": number(bottom)})


def level(style: str, y: float, *, start: float = 0, end: float = 100, title: str = "") -> Shape:
    """Return a line at *y* from *start* to *end* percent."""
    place = {"class": style, "x1": percent(start), "x2": percent(end), "y1": number(y), "y2": number(y)}
    return Shape("line", place, title)


def label(text: str, x: float, y: float, *, style: str = "", anchor: str = "") -> Shape:
    """Return a text at *x* percent."""
    place = {"class": style} if style else {}
    place |= {"x": percent(x), "y": number(y)}
    return Shape("text", {**place, **({"text-anchor": anchor} if anchor else {})}, text=text)
