"""The rows of one file with typed values and their errors, in the order of the file."""

from __future__ import annotations

from collections.abc import Callable

from connrunner.core.model import PropertyType
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass
from connrunner.profiles import domains, values
from connrunner.profiles.mapping import NUMBERS, ImportPlan, MappedField
from connrunner.profiles.readers.record_source import NO_RECORD, READ_AGAIN, RecordSource
from connrunner.profiles.scan_order import find_detour
from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import all_of, any_of, quote_text
from connrunner.text.words import plural

# Types that a number fills by what it says, however it is written: a boolean may be 1 or 1.0.
WITH_DIGITS = (*NUMBERS, PropertyType.BOOLEAN)


@dataclass(frozen=True, kw_only=True, slots=True)
class StagedFile:
    """One of several files whose rows are in one stage."""

    name: str
    first: int  # the `rowid` of its first row
    rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """
    A temporary table of one file's rows; a row's `rowid` is its place in the file, from 0.

    Of several files that were staged together (`small_files`) it has the rows of one behind those of the other.

    `v0`, `v1`... are the values of the plan's fields, `o0`... what the row says to objectives, `e0`... (only for
    fields with `empty: clear`) whether the row says that there is no value. `bad` is NULL for a sound row; for another
    it lists what is wrong with the record as a whole, if anything, then the texts of the fields (a JSON list of a
    `many`) and of the objectives.
    """

    table: str
    rows: int
    first_line: int
    records: RecordSource  # where they came from
    erased: bool = False  # whether some of the rows are about people who were erased: see `erased_rows`
    files: tuple[StagedFile, ...] = ()  # when they are several
    before: int = 0  # how many of the records stand before the first of these rows


def create_stage(
    session: StoreSession,
    table: str,
    records: RecordSource,
    plan: ImportPlan,
    name: str,
    on_progress: Callable[[float], None],
) -> Stage:
    """
    Fill *table* with the *records* of the file *name*; *on_progress* is called with the part (0 to 1) that is done.

    Outside of any transaction only: there DuckDB numbers the rows of a new table from 0 in the order of the file,
    which is what lets it read with all cores and still name the line of each mistake.

    InexactReadError when the records are not all that the file has, or have values that this way of reading changes.
    """
    query = _select(records, plan)
    if detour := find_detour(session, query):
        raise _order_error(name, f"DuckDB would read it with a {detour}")
    session.execute_watched(f"CREATE OR REPLACE TEMP TABLE {table} AS {query}", on_progress)
    emails = {f"v{one.number}": one.owner.many for one in plan.fields if one.owner.type is PropertyType.EMAIL}
    domains.normalize_table(session, table, emails)
    count, first, last, again, nothing = session.execute(
        f"""SELECT count(*), min(rowid), max(rowid), count(*) FILTER (bad[1] = {quote_text(READ_AGAIN)}),
            count(*) FILTER (bad[1] = {quote_text(NO_RECORD)}) FROM {table}"""
    ).fetchall()[0]
    if count and (first, last) != (0, count - 1):
        raise _order_error(name, f"the rows are numbered {first} to {last}, and there are {count:,}")
    if again or not records.is_whole(count):
        raise InexactReadError(name, count)
    if nothing:
        # The rows that stay keep their numbers, and so the places of what is refused.
        session.execute(f"DELETE FROM {table} WHERE bad[1] = {quote_text(NO_RECORD)}")
    return Stage(table=table, rows=count - nothing, first_line=records.first_line, records=records)


class InexactReadError(RunError):
    """What was read is not exactly what stands in the file."""

    def __init__(self, name: str, count: int) -> None:
        super().__init__(
            f"{name}: {plural(count, 'record')} could be read, and it has another number of them",
            hint="nothing was imported; ask for the file again, or have it sent in parts",
            code="damaged-file",
        )


def _order_error(name: str, reason: str) -> RunError:
    return RunError(
        f"the rows of {name} cannot be numbered in the order of the file: {reason}",
        hint="nothing was imported; please report this with your version of DuckDB",
        code="unordered",
    )


def _select(records: RecordSource, plan: ImportPlan) -> str:
    """Return the query: the innermost part reads texts, the middle one types them, the outer one finds bad rows."""
    raw, typed, out = [f"{records.error} AS record_error"], ["*"], []
    bad, texts = ["record_error IS NOT NULL"], ["record_error"]
    for mapped in plan.fields:
        number, column = mapped.number, mapped.field.column
        raw.append(f"{_text(mapped, records)} AS r{number}")
        typed.append(f"{_value(mapped, records)} AS v{number}")
        out.append(f"v{number}")
        if mapped.field.empty == "clear":
            raw.append(f"{records.present(column)} AS p{number}")
            out.append(f"(p{number} AND v{number} IS NULL) AS e{number}")
        bad.append(f"v{number} IS NULL AND {is_field_filled(mapped)}")
        texts.append(f"to_json(r{number})::VARCHAR" if mapped.owner.many else f"r{number}")
    for number, (_, column) in enumerate(plan.consents):
        raw.append(f"{(records.number or records.cell)(column)} AS q{number}")
        typed.append(f"{values.parse_value(PropertyType.BOOLEAN, f'q{number}')} AS o{number}")
        out.append(f"o{number}")
        bad.append(f"o{number} IS NULL AND {values.is_filled(f'q{number}')}")
        texts.append(f"q{number}")
    bad.append(has_no_key(plan))
    # The reasons are found later, for the bad rows alone: here they would cost time for each row.
    return f"""SELECT {", ".join(out)}, CASE WHEN {any_of(bad)} THEN [{", ".join(texts)}] END AS bad
        FROM (SELECT {", ".join(typed)} FROM (SELECT {", ".join(raw)} FROM {records.relation}))"""


def is_field_filled(mapped: MappedField) -> str:
    """Return the condition that the field's text `r0`, `r1`... says something."""
    return f"len(r{mapped.number}) > 0" if mapped.owner.many else values.is_filled(f"r{mapped.number}")


def has_no_key(plan: ImportPlan) -> str:
    """Return the condition that none of the plan's keys is complete."""
    return all_of(any_of(f"v{mapped.number} IS NULL" for mapped in group) for group in plan.groups)


def parse_member(mapped: MappedField, records: RecordSource) -> str:
    """Return the expression of the value that the text `x`, one of many, stands for."""
    return values.parse_value(mapped.owner.type, "x", zone=choose_zone(mapped, records))


def choose_zone(mapped: MappedField, records: RecordSource) -> str:
    """Return the zone of the field's times without an offset; empty when these are no values."""
    return mapped.field.timezone or records.timezone


def _text(mapped: MappedField, records: RecordSource) -> str:
    column = mapped.field.column
    is_number = mapped.owner.type in WITH_DIGITS
    if not mapped.owner.many:
        return (records.number if is_number and records.number else records.cell)(column)
    cells = (records.numbers if is_number and records.numbers else records.cells)(column, mapped.field.separator)
    return f"list_filter({cells}, lambda x: {values.is_filled('x')})"


def _value(mapped: MappedField, records: RecordSource) -> str:
    """Return the expression of the field's value; NULL when the cell is empty or holds another value."""
    raw, owner = f"r{mapped.number}", mapped.owner
    if not owner.many:
        zone = choose_zone(mapped, records)
        return values.parse_value(owner.type, raw, trim=owner.identifier, nul=records.nul, zone=zone)
    typed = f"list_transform({raw}, lambda x: {parse_member(mapped, records)})"
    sound = f"len(list_filter({typed}, lambda x: x IS NULL)) = 0"
    # Sets are kept sorted, so that equal sets are equal lists.
    return f"CASE WHEN len({raw}) > 0 AND {sound} THEN list_sort(list_distinct({typed})) END"
