"""Does a run do no more and no less than its connection's `expect` allows?"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from connrunner.core.model import Expect
from connrunner.errors import RunError
from connrunner.text.words import nearest


def check_export(expect: Expect, *, rows: int, changes: int, before: int) -> None:
    """
    RunError when *rows* that would be sent, or *changes* of what was sent *before*, are not as expected.

    Where nothing was sent before, everything is new: no share of it can be told, so none is judged.
    """
    broken = []
    if expect.min_rows is not None and rows < expect.min_rows:
        broken.append(f"{rows:,} rows would be sent, fewer than {expect.min_rows:,} (min_rows)")
    if expect.max_rows is not None and rows > expect.max_rows:
        broken.append(f"{rows:,} rows would be sent, more than {expect.max_rows:,} (max_rows)")
    if expect.max_change_pct is not None and before and changes * 100 > expect.max_change_pct * before:
        broken.append(
            f"{changes:,} changes of {before:,} profiles that were sent before are {changes * 100 / before:,.1f} %, "
            f"more than {expect.max_change_pct:g} % (max_change_pct)"
        )
    if broken:
        raise RunError(
            "; ".join(broken),
            hint="nothing was sent; see what happened to the profiles or to `where`, or change `expect`",
            code="expectation",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportMeasures:
    """What came by an import, as far as `expect` judges it."""

    rows: int | None  # of the files that are read for the first time; None when there are files, and none is new
    checked: int  # of these rows
    refused: int  # of these rows
    changes: int  # profiles that would be created, updated or deleted
    before: int  # profiles that were stored before


def check_import(expect: Expect, arrival: ImportMeasures) -> None:
    """
    RunError when what came is not as expected.

    Rows of files that were read before, and rows that are offered again, were judged when they were new. In an empty
    store everything is new, and no share of it is judged.
    """
    broken = []
    rows, refused, changes = arrival.rows, arrival.refused, arrival.changes
    if expect.min_rows is not None and rows is not None and rows < expect.min_rows:
        broken.append(f"{rows:,} rows were read, at least {expect.min_rows:,} are expected (min_rows)")
    if expect.max_rows is not None and rows is not None and rows > expect.max_rows:
        broken.append(f"{rows:,} rows were read, at most {expect.max_rows:,} are expected (max_rows)")
    most = expect.max_invalid_pct
    if most is not None and refused * 100 > most * arrival.checked:
        share = _share(refused, arrival.checked, most)
        broken.append(f"{share} of {arrival.checked:,} rows were refused, at most {most:g} % are expected")
    most = expect.max_change_pct
    if most is not None and arrival.before and changes * 100 > most * arrival.before:
        share = _share(changes, arrival.before, most)
        broken.append(f"{share} of {arrival.before:,} profiles would change, at most {most:g} % are expected")
    if broken:
        raise RunError(
            "; ".join(broken),
            hint="nothing was imported; look at the files, or change `expect`",
            code="expectation",
        )


def check_columns(expect: Expect, file: str, names: Collection[str]) -> None:
    """RunError unless the *file*, whose columns have these *names*, has all that are expected."""
    missing = [name for name in expect.columns if name not in names]
    if missing:
        near = nearest(missing[0], names)
        guess = f"did you mean {near!r}? " if near else ""
        raise RunError(
            f"{file} has no column {', '.join(map(repr, missing))}, which the import expects",
            hint=f"nothing was imported; {guess}its columns: {', '.join(list(names)[:20]) or 'none'}",
            code="expectation",
        )


def _share(part: int, whole: int, limit: float) -> str:
    """Return the percentage with as many digits as tell it from *limit*."""
    exact = part * 100 / whole
    digits = next((digits for digits in range(1, 9) if round(exact, digits) > limit), 9)
    return f"{round(exact, digits):g} %" if digits < 4 else f"{exact:.{digits}f} %"
