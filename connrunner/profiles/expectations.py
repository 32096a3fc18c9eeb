"""Does a run do no more and no less than its connection's `expect` allows?"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from connrunner.core.model import Expect
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.text.redaction import redact_partner_words
from connrunner.text.words import agree, nearest, plural


@dataclass(kw_only=True, slots=True)
class SeenColumns:
    """The columns of the files that an import read, and what is said of expected ones that are missing."""

    names: dict[str, None] = field(default_factory=dict)  # in their order; none where a format has no header
    missing: dict[str, None] = field(default_factory=dict)


def find_unexpected_rows(expect: Expect, *, rows: int, changes: int, before: int) -> list[str]:
    """
    Return what is not as expected of *rows* that would be sent, and of *changes* of what was sent *before*.

    Where nothing was sent before, everything is new: no share of it can be computed, so none is judged.
    """
    broken = []
    if expect.min_rows is not None and rows < expect.min_rows:
        broken.append(f"{plural(rows, 'row')} would be sent, fewer than {expect.min_rows:,} (min_rows)")
    if expect.max_rows is not None and rows > expect.max_rows:
        broken.append(f"{plural(rows, 'row')} would be sent, more than {expect.max_rows:,} (max_rows)")
    if expect.max_change_pct is not None and before and changes * 100 > expect.max_change_pct * before:
        sent = agree(before, "profile", "that was", "that were")
        broken.append(
            f"{plural(changes, 'change')} among {sent} sent before: {changes * 100 / before:,.1f} %, "
            f"more than {expect.max_change_pct:g} % (max_change_pct)"
        )
    return broken


def unexpected_export_error(broken: Sequence[str]) -> RunError:
    """Return the failure of an export of which *broken* is not as expected."""
    return RunError(
        "; ".join(broken),
        hint="nothing was sent; see what happened to the profiles or to `where`, or change `expect`",
        code="expectation",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportMeasures:
    """What an import brings, as far as `expect` judges it."""

    rows: int | None  # of the files that are read for the first time; None when there are files, and none is new
    checked: int  # of these rows
    refused: int  # of these rows
    changes: int  # profiles that would be created, updated or deleted
    before: int  # profiles that were stored before


def find_unexpected_changes(expect: Expect, measures: ImportMeasures) -> list[str]:
    """
    Return what is not as expected of what the import brings.

    Rows of files that were read before, and rows that are offered again, were judged when they were new. In an empty
    store everything is new, and no share of it is judged.
    """
    broken = []
    rows, refused, changes = measures.rows, measures.refused, measures.changes
    if expect.min_rows is not None and rows is not None and rows < expect.min_rows:
        broken.append(f"{agree(rows, 'row', 'was', 'were')} read; expected are {expect.min_rows:,} or more (min_rows)")
    if expect.max_rows is not None and rows is not None and rows > expect.max_rows:
        broken.append(f"{agree(rows, 'row', 'was', 'were')} read; expected are {expect.max_rows:,} at most (max_rows)")
    most = expect.max_invalid_pct
    if most is not None and refused * 100 > most * measures.checked:
        share = _share(refused, measures.checked, most)
        broken.append(
            f"{share} of {agree(measures.checked, 'row', 'was', 'were')} refused, at most {most:g} % are expected"
        )
    most = expect.max_change_pct
    if most is not None and measures.before and changes * 100 > most * measures.before:
        share = _share(changes, measures.before, most)
        broken.append(f"{share} of {plural(measures.before, 'profile')} would change, at most {most:g} % are expected")
    return broken


def unexpected_import_error(broken: Sequence[str]) -> RunError:
    """Return the failure of an import of which *broken* is not as expected."""
    return RunError(
        "; ".join(broken), hint="nothing was imported; look at the files, or change `expect`", code="expectation"
    )


def check_expected_columns(
    expect: Expect, file: str, names: Collection[str], seen: SeenColumns, *, are_all: bool = True
) -> None:
    """RunError unless the *file*, whose columns have these *names*, has all that are expected.

    With `otherwise: hold` it is noted in *seen*, as the names are when they *are_all* that the file has.
    """
    if are_all:
        seen.names.update(dict.fromkeys(names))
    missing = [name for name in expect.columns if name not in names]
    if not missing:
        return
    problem = f"{file} has no column {', '.join(map(repr, missing))}, which the import expects"
    if expect.otherwise == "hold":
        seen.missing[problem] = None
        return
    there = describe_columns(missing[0], list(names), expect.columns)
    raise RunError(problem, hint=f"nothing was imported; {there}", code="expectation")


def describe_columns(missing: str, names: Sequence[str], wanted: Collection[str]) -> str:
    """Return what columns a file has instead of the *missing* one.

    Where it has none of the *wanted* ones, nor anything like them, its first line may be a row and no header: what
    stands there are values of a person, and only their number is told.
    """
    meant = nearest(missing.strip(), names)
    if meant is None and names and not any(name in wanted or nearest(name, wanted) for name in names):
        many = plural(len(names), "column")
        return f"it has {many} of other names; where its first line is no header, set `header: false` and `columns`"
    shown = [redact_partner_words(shorten(name)) for name in names[:20]]
    there = (", ".join(shown) or "none") + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return (f"did you mean {meant!r}? " if meant is not None else "") + f"its columns: {there}"


def shorten(name: str) -> str:
    """Return the *name* of a column as a message may hold it."""
    return name if len(name) <= 100 else name[:100] + "…"


def _share(part: int, whole: int, limit: float) -> str:
    """Return the percentage with so many digits that it differs from *limit*."""
    exact = part * 100 / whole
    digits = next((digits for digits in range(1, 9) if round(exact, digits) > limit), 9)
    return f"{round(exact, digits):g} %" if digits < 4 else f"{exact:.{digits}f} %"
