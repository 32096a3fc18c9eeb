"""What an import would change, value by value: for the person who asks for a dry run."""

from __future__ import annotations

from collections.abc import Iterator

from connrunner.lazy_dataclasses import dataclass
from connrunner.profiles import values
from connrunner.profiles.importing import classify
from connrunner.profiles.importing.classify import NUMBER
from connrunner.profiles.importing.row_keys import describe_key
from connrunner.profiles.importing.stage import Stage
from connrunner.profiles.mapping import ImportPlan, MappedField
from connrunner.profiles.results import Difference
from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import quote_text

MOST = 20  # differences
SEPARATOR = "; "  # between the values of a `many` property


def select_differences(
    session: StoreSession, stage: Stage, plan: ImportPlan, most: int, *, masked: bool = False
) -> list[Difference]:
    """Return up to *most* differences between the classified rows and their profiles, before they are merged.

    *masked* hides what is personal, as in `rejects`.
    """
    if most <= 0:
        return []
    changes = list_value_changes(session, plan)
    differences = ", ".join(change.as_struct(place, masked=masked) for place, change in enumerate(changes))
    # Each row that changes anything has a difference at least, so that few rows are looked at value by value.
    found = session.execute(f"""
        WITH few AS (
            SELECT rn FROM verdicts WHERE verdict IN ({NUMBER["created"]}, {NUMBER["updated"]})
            ORDER BY rn LIMIT {most}
        ), changed AS (
            SELECT v.rn, v.verdict, {describe_key(plan, masked=masked)} AS key, unnest([{differences}]) AS one
            FROM verdicts v JOIN few ON few.rn = v.rn JOIN {stage.table} s ON s.rowid = v.rn
            LEFT JOIN store.profiles p ON p.rowid = v.pid
        )
        SELECT key, one.property, one.old, one.new FROM changed
        WHERE one IS NOT NULL ORDER BY rn, one.place LIMIT {most}""")
    return [Difference(profile=row[0], property=row[1], old=row[2], new=row[3]) for row in found.fetchall()]


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueChange:
    """What a classified row `v`, staged as `s`, changes of one value of its profile `p`, as expressions."""

    name: str  # the property, or `consent to newsletter`
    mapped: MappedField | None  # None for a consent
    differs: str
    old: str  # as text
    new: str

    def as_struct(self, place: int, *, masked: bool) -> str:
        """Return the expression of the difference, NULL where there is none; *masked* hides what is personal."""
        old, new = (self._mask(value) if masked else value for value in (self.old, self.new))
        return f"""CASE WHEN {self.differs} THEN {{place: {place}, property: {quote_text(self.name)},
            old: {old}, new: {new}}} END"""

    def _mask(self, value: str) -> str:
        return value if self.mapped is None else values.redact(value, personal=self.mapped.owner.personal)


def list_value_changes(session: StoreSession, plan: ImportPlan) -> list[ValueChange]:
    """Return what each row can change of its profile, value by value."""
    found = []
    changes = classify.list_changes(plan, session.layout)
    for change, (name, mapped) in zip(changes, _names(plan), strict=True):
        is_new = f"v.verdict = {NUMBER['created']}"
        found.append(
            ValueChange(
                name=name,
                mapped=mapped,
                differs=f"CASE WHEN {is_new} THEN {change.new} IS NOT NULL "
                f"ELSE v.{change.flag} >> {change.bit} & 1 = 1 END",
                old=_text(mapped, f"p.{change.column}"),
                new=f"CASE WHEN {is_new} THEN {_text(mapped, change.new)} ELSE {_text(mapped, change.updated)} END",
            )
        )
    return found


def _names(plan: ImportPlan) -> Iterator[tuple[str, MappedField | None]]:
    for mapped in plan.fields:
        yield mapped.field.property, mapped
    for objective, _ in plan.consents:
        yield f"consent to {objective}", None


def _text(mapped: MappedField | None, value: str) -> str:
    if mapped is None:
        return f"({value})::VARCHAR"
    return values.format_joined(mapped.owner, f"({value})", SEPARATOR)
