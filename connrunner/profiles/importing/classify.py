"""What becomes of each staged row, and which columns it would change: the temporary table `verdicts`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from connrunner.core.model import Write
from connrunner.lazy_dataclasses import dataclass
from connrunner.profiles import consent
from connrunner.profiles.importing import erased_rows, match
from connrunner.profiles.importing.match import Matches
from connrunner.profiles.importing.stage import Stage
from connrunner.profiles.mapping import ImportPlan, MappedField
from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import any_of
from connrunner.profiles.tables import Layout

# The place of a counter in this tuple is the verdict's number in the table `verdicts`.
VERDICTS = (
    "created",
    "updated",
    "unchanged",
    "skipped",
    "duplicate",
    "consent_blocked",
    "not_found",
    "ambiguous",
    "invalid",
)
NUMBER = {name: number for number, name in enumerate(VERDICTS)}
REFUSED = (NUMBER["ambiguous"], NUMBER["invalid"])
FLAGS = 60  # in one column


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnChange:
    """One column of `profiles` that an import may change."""

    column: str
    new: str  # the value of a profile that the row `s` creates
    updated: str  # the value of the profile `p` after the row `s`
    changes: str  # the condition, never NULL, that this is another value
    flag: str  # the column of `verdicts` that says so
    bit: int


def list_changes(plan: ImportPlan, layout: Layout) -> tuple[ColumnChange, ...]:
    """Return every column that *plan* may change, and how."""
    found = []
    for position, (column, new, updated, differs) in enumerate(_effects(plan, layout)):
        flag, bit = divmod(position, FLAGS)
        found.append(ColumnChange(column=column, new=new, updated=updated, changes=differs, flag=f"m{flag}", bit=bit))
    return tuple(found)


def list_flags(changes: Sequence[ColumnChange]) -> tuple[str, ...]:
    """Return the columns of `verdicts` that hold flags."""
    return tuple(dict.fromkeys(change.flag for change in changes))


def classify_rows(session: StoreSession, stage: Stage, plan: ImportPlan, matches: Matches, *, retry: bool) -> None:
    """
    Make the temporary table `verdicts`: for each row `rn`, its profile's `pid`, its verdict and flags.

    `pid` is the profile's rowid, which holds within the transaction.
    """
    layout = session.layout
    found = list_changes(plan, layout)
    masks = [
        " | ".join(f"(({one.changes})::BIGINT << {one.bit})" for one in found if one.flag == flag) + f" AS {flag}"
        for flag in list_flags(found)
    ]
    fate = "f.fate" if matches.fated else "NULL"
    overflows = any_of(overflows_column(mapped, layout) for mapped in plan.increments)
    acts = consent.is_allowed(plan.work.objectives, plan.objectives, lambda name: _answer(plan, layout, name))
    changed = any_of(f"{flag} <> 0" for flag in list_flags(found))
    session.execute(f"""
        CREATE OR REPLACE TEMP TABLE verdicts AS
        SELECT rn, pid, {", ".join(list_flags(found))}, (CASE
            WHEN fate = {match.SKIPPED} THEN {NUMBER["skipped"]}
            WHEN erased THEN {NUMBER["consent_blocked"]}
            WHEN bad THEN {NUMBER["invalid"]}
            WHEN fate IN ({match.AMBIGUOUS}, {match.LINKED}) THEN {NUMBER["ambiguous"]}
            WHEN fate = {match.DUPLICATE} THEN {NUMBER["duplicate"]}
            WHEN pid IS NULL AND NOT {plan.work.create} THEN {NUMBER["not_found"]}
            WHEN NOT acts THEN {NUMBER["consent_blocked"]}
            WHEN overflows THEN {NUMBER["invalid"]}
            WHEN pid IS NULL THEN {NUMBER["created"]}
            WHEN {changed} THEN {NUMBER["updated"]}
            ELSE {NUMBER["unchanged"]} END)::UTINYINT AS verdict
        FROM (
            SELECT s.rowid AS rn, p.rowid AS pid, s.bad IS NOT NULL AS bad, {fate} AS fate,
                {erased_rows.is_erased(stage)} AS erased,
                {acts} AS acts, {overflows} AS overflows, {", ".join(masks)}
            FROM {stage.table} s {matches.join}
        )""")
    if plan.finds_by_one_identifier and match.mark_duplicates(session, stage, plan.groups[0][0], retry=retry):
        session.execute(
            f"UPDATE verdicts SET verdict = {NUMBER['duplicate']}"
            f" WHERE rn IN (SELECT rn FROM fates WHERE fate = {match.DUPLICATE})"
        )
    _refuse_taken_identifiers(session, stage, plan)


def _answer(plan: ImportPlan, layout: Layout, objective: str) -> str:
    """Return the expression of the answer of the row, else of the profile, to an objective."""
    stored = layout.consent(objective)
    for number, (name, _) in enumerate(plan.consents):
        if name == objective:
            return f"coalesce(s.o{number}, {stored})"
    return stored


def overflows_column(mapped: MappedField, layout: Layout) -> str:
    """Return the condition that an increment leads beyond what its column holds."""
    value = f"s.v{mapped.number}"
    if not mapped.writes_existing:
        return "false"
    return f"{value} IS NOT NULL AND {_sum(mapped, layout)} IS NULL"


def _sum(mapped: MappedField, layout: Layout) -> str:
    return f"try(coalesce({layout.value(mapped.field.property)}, 0) + s.v{mapped.number})"


def _effects(plan: ImportPlan, layout: Layout) -> Iterator[tuple[str, str, str, str]]:
    for mapped in plan.fields:
        column = layout.columns[mapped.field.property]
        stored, value = f"p.{column}", f"s.v{mapped.number}"
        new = value if mapped.writes_new else "NULL"
        updated, differs = _effect(mapped, layout, stored, value)
        if mapped.field.empty == "clear" and mapped.field.write is not Write.SET_IF_EMPTY:
            cleared = f"s.e{mapped.number}"
            differs = f"CASE WHEN {cleared} THEN {stored} IS NOT NULL ELSE {differs} END"
            updated = f"CASE WHEN {cleared} THEN NULL ELSE {updated} END"
        if not mapped.writes_existing or (plan.finds_by_one_identifier and mapped is plan.groups[0][0]):
            updated, differs = stored, "false"  # the profile was found by it, so it has it already
        yield column, new, updated, differs
    for number, (objective, _) in enumerate(plan.consents):
        stored, value = layout.consent(objective), f"s.o{number}"
        updated = f"coalesce({value}, {stored})"
        yield layout.consents[objective], value, updated, f"{value} IS NOT NULL AND {value} IS DISTINCT FROM {stored}"


def _effect(mapped: MappedField, layout: Layout, stored: str, value: str) -> tuple[str, str]:
    match mapped.field.write:
        case Write.SET:
            return f"coalesce({value}, {stored})", f"{value} IS NOT NULL AND {value} IS DISTINCT FROM {stored}"
        case Write.SET_IF_EMPTY:
            return f"coalesce({stored}, {value})", f"{stored} IS NULL AND {value} IS NOT NULL"
        case Write.INCREMENT:
            updated = f"coalesce({_sum(mapped, layout)}, {stored})"
            return updated, f"{value} IS NOT NULL AND {updated} IS DISTINCT FROM {stored}"
        case Write.ADD:
            both = f"list_sort(list_distinct(list_concat({stored}, {value})))"
            updated = f"CASE WHEN {value} IS NULL THEN {stored} ELSE {both} END"
            return updated, f"{value} IS NOT NULL AND {updated} IS DISTINCT FROM {stored}"
        case Write.REMOVE:
            rest = f"list_filter({stored}, lambda x: NOT list_contains({value}, x))"
            updated = f"CASE WHEN {value} IS NULL THEN {stored} WHEN len({rest}) > 0 THEN {rest} END"
            return updated, f"{value} IS NOT NULL AND {updated} IS DISTINCT FROM {stored}"


def _refuse_taken_identifiers(session: StoreSession, stage: Stage, plan: ImportPlan) -> None:
    """
    Make `taken` (rn, number of the field, number of the profile that has the value) and refuse its rows.

    They would give one identifier's value to two profiles.
    A value that another profile holds now is taken even when another row is about to change it: the next run may give
    it. A value that rows want for different profiles goes to none. An identifier that finds profiles by itself needs
    no look: its other owner would have been found.
    """
    session.execute("CREATE OR REPLACE TEMP TABLE taken (rn BIGINT, f INTEGER, owner BIGINT)")
    alone = {group[0].number for group in plan.groups if len(group) == 1}
    for change, mapped in zip(list_changes(plan, session.layout), plan.fields, strict=False):
        if not mapped.owner.identifier or mapped.number in alone:
            continue
        value = f"v{mapped.number}"
        created = f"v.verdict = {NUMBER['created']} AND {mapped.writes_new}"
        updated = f"v.verdict = {NUMBER['updated']} AND (v.{change.flag} >> {change.bit}) & 1 = 1"
        session.execute(f"""
            INSERT INTO taken
            WITH takers AS (
                SELECT v.rn, v.pid, s.{value} AS value FROM verdicts v JOIN {stage.table} s ON s.rowid = v.rn
                WHERE s.{value} IS NOT NULL AND ({any_of((created, updated))})
            )
            SELECT rn, {mapped.number}, max(owner) FROM (
                SELECT t.rn, p._id AS owner FROM takers t
                JOIN store.profiles p ON {session.layout.value(mapped.field.property)} = t.value
                UNION ALL
                SELECT rn, NULL FROM takers
                WHERE value IN (SELECT value FROM takers GROUP BY value HAVING count(*) > 1)
            ) GROUP BY rn""")
    if session.execute("SELECT 1 FROM taken LIMIT 1").fetchone():
        session.execute(f"UPDATE verdicts SET verdict = {NUMBER['ambiguous']} WHERE rn IN (SELECT rn FROM taken)")
