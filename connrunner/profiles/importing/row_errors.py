"""The errors in the bad rows of a stage, found in the texts that these keep."""

from __future__ import annotations

from collections.abc import Iterator

from connrunner.core.model import PropertyType
from connrunner.profiles import values
from connrunner.profiles.importing import stage
from connrunner.profiles.mapping import ImportPlan, MappedField
from connrunner.profiles.readers.record_source import RecordSource
from connrunner.profiles.sql_fragments import all_of, any_of

ROW = -1  # stands for the row where a field's number is expected


def objective_number(number: int) -> int:
    """Return what stands for the objective *number* where a field's number is expected: below `ROW`."""
    return -2 - number


def select_errors(bad_rows: str, plan: ImportPlan, records: RecordSource) -> str:
    """
    Return the query of `rn`, `key`, field number `f`, `code` and `value` of each error in *bad_rows*.

    *bad_rows* is a query of rows of *records*.
    """
    texts = ["bad[1] AS record_error"]
    for position, mapped in enumerate(plan.fields, 2):
        text = f"json_extract_string(bad[{position}], '$[*]')" if mapped.owner.many else f"bad[{position}]"
        texts.append(f"{text} AS r{mapped.number}")
    first = len(plan.fields) + 2
    texts.extend(f"bad[{first + number}] AS q{number}" for number in range(len(plan.consents)))
    return f"""SELECT rn, key, one.f AS f, one.code AS code, one.value AS value FROM (
        SELECT rn, key, unnest([{", ".join(_reasons(plan, records))}]) AS one FROM (
            SELECT *, {", ".join(texts)} FROM ({bad_rows}))
        ) WHERE one IS NOT NULL"""


def _reasons(plan: ImportPlan, records: RecordSource) -> Iterator[str]:
    yield _reason("record_error IS NOT NULL", ROW, "record_error")
    for mapped in plan.fields:
        wrong = f"v{mapped.number} IS NULL AND {stage.is_field_filled(mapped)}"
        yield _reason(f"record_error IS NULL AND {wrong}", mapped.number, _code(mapped), _culprit(mapped, records))
    for number in range(len(plan.consents)):
        wrong = f"o{number} IS NULL AND {values.is_filled(f'q{number}')}"
        text = values.redact(f"q{number}", personal=True)
        yield _reason(f"record_error IS NULL AND {wrong}", objective_number(number), "'wrong-type'", text)
    # A key that is there but wrong is one mistake, not two.
    present = any_of(all_of(map(stage.is_field_filled, group)) for group in plan.groups)
    lacking = f"record_error IS NULL AND {stage.has_no_key(plan)} AND NOT coalesce({present}, false)"
    yield _reason(lacking, ROW, "'missing-key'")


def _reason(condition: str, number: int, code: str, value: str = "NULL::VARCHAR") -> str:
    return f"CASE WHEN {condition} THEN {{f: {number}, code: {code}, value: {value}}} END"


def _culprit(mapped: MappedField, records: RecordSource) -> str:
    """Return the expression of the text that is no value, as a log may show it."""
    raw = f"r{mapped.number}"
    if mapped.owner.many:
        raw = f"list_filter({raw}, lambda x: {stage.parse_member(mapped, records)} IS NULL)[1]"
    return values.redact(raw, personal=mapped.owner.personal)


def _code(mapped: MappedField) -> str:
    if mapped.owner.type is not PropertyType.TEXT:
        return "'wrong-type'"
    raw = f"r{mapped.number}"
    text = f"array_to_string({raw}, '')" if mapped.owner.many else raw
    return f"CASE WHEN contains({text}, chr(0)) THEN 'nul' ELSE 'too-long' END"
