"""The classified rows become profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from connrunner.core.counts import Counts, imbalance_error
from connrunner.profiles import before
from connrunner.profiles.importing import classify, match
from connrunner.profiles.importing.classify import NUMBER, VERDICTS, ColumnChange
from connrunner.profiles.importing.stage import Stage
from connrunner.profiles.mapping import ImportPlan
from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import any_of, unquote_name
from connrunner.text.words import agree


def count_verdicts(session: StoreSession, stage: Stage) -> Counts:
    """Return the counters of the classified rows. RunError when they do not account for every row of the file."""
    found = dict(session.execute("SELECT verdict, count(*) FROM verdicts GROUP BY verdict").fetchall())
    return _sum_up(found, stage.rows)


def count_by_file(session: StoreSession, stage: Stage, parts: Sequence[int]) -> list[Counts]:
    """Return the counters of each file of *stage*, whose numbers in `places` are *parts*; RunError as above."""
    found: dict[int, dict[int, int]] = {part: {} for part in parts}
    rows = session.execute("""
        SELECT l.part, v.verdict, count(*) FROM verdicts v JOIN places l ON l.rn = v.rn GROUP BY ALL""")
    for part, verdict, count in rows.fetchall():
        found[part][verdict] = count
    return [_sum_up(found[part], file.rows) for part, file in zip(parts, stage.files, strict=True)]


def _sum_up(found: Mapping[int, int], rows: int) -> Counts:
    numbers = {name: found.get(number, 0) for number, name in enumerate(VERDICTS)}
    counts = Counts(read=rows, checked=rows - numbers["skipped"], **numbers)
    if problem := counts.imbalance():
        raise imbalance_error(problem)
    return counts


def merge_rows(session: StoreSession, stage: Stage, plan: ImportPlan, counts: Counts, *, run: int, part: int) -> None:
    """
    Write what the verdicts say, stamped with the number *run* of this run in `runs`, and keep what stood there.

    *part* is higher for each further call of one run.

    Updates go through the profiles in their order: in the order of a file, which is another one, they take DuckDB four
    times as long.
    """
    changes = classify.list_changes(plan, session.layout)
    if counts.updated:
        written = _select_written(session, changes)
        _keep_updated(session, plan, written, run=run, part=2 * part)
        assignments = ", ".join([f"_changed = {run}", *(f"{one.column} = {one.updated}" for one in written)])
        _execute_exactly(
            session,
            f"""UPDATE store.profiles p SET {assignments}
                FROM (SELECT v.pid, s.* FROM verdicts v JOIN {stage.table} s ON s.rowid = v.rn
                    WHERE v.verdict = {NUMBER["updated"]} ORDER BY v.pid) s
                WHERE p.rowid = s.pid""",
            counts.updated,
        )
    if counts.created:
        columns = ", ".join(["_id", "_created", "_changed", *(one.column for one in changes)])
        # By the places of the rows, which have gaps where lines without a record were left out.
        first = _take_numbers(session, int(session.one(f"SELECT max(rowid) + 1 FROM {stage.table}")))
        _execute_exactly(
            session,
            f"""INSERT INTO store.profiles ({columns})
                SELECT {first} + s.rowid, {run}, {run}, {", ".join(one.new for one in changes)}
                FROM {_find_created(session, stage, counts)}""",
            counts.created,
        )
    if counts.consent_blocked and plan.consents:
        _record_objections(session, stage, plan, run, part=2 * part + 1)


def _keep_updated(
    session: StoreSession, plan: ImportPlan, written: Sequence[ColumnChange], *, run: int, part: int
) -> None:
    _keep_former(
        session,
        plan,
        run=run,
        part=part,
        rows=f"""FROM verdicts v JOIN store.profiles p ON p.rowid = v.pid WHERE v.verdict = {NUMBER["updated"]}""",
        flags=[f"v.{flag}" for flag in classify.list_flags(classify.list_changes(plan, session.layout))],
        changed={unquote_name(one.column): f"v.{one.flag} >> {one.bit} & 1 = 1" for one in written},
    )


def _keep_former(
    session: StoreSession,
    plan: ImportPlan,
    *,
    run: int,
    part: int,
    rows: str,
    flags: Sequence[str],
    changed: Mapping[str, str],
) -> None:
    """See `before.keep_former`; the connection says whether values are kept, the store whether anything is."""
    if session.backing.keeps_former:
        keep = plan.work.undo_keep is not None
        before.keep_former(session.connection, run=run, part=part, rows=rows, flags=flags, changed=changed, keep=keep)


def _find_created(session: StoreSession, stage: Stage, counts: Counts) -> str:
    """
    Return what follows `FROM` for the rows `s` that become profiles, without a join where possible.

    A join hands them on in any order, and profiles that stand in the order of their numbers need not be sorted by
    anybody who reads them (`scan_order`).
    """
    created = f"FROM verdicts WHERE verdict = {NUMBER['created']}"
    if counts.created == counts.checked == stage.rows:
        return f"{stage.table} s"
    last = int(session.one(f"SELECT max(rn) {created}"))
    if last >= match.MOST_BITS:
        return f"{stage.table} s JOIN (SELECT rn {created}) v ON v.rn = s.rowid"
    session.execute(f"SET VARIABLE created = (SELECT bitstring_agg(rn, 0, {last}) {created})")
    return f"{stage.table} s WHERE s.rowid <= {last} AND get_bit(getvariable('created'), s.rowid::INTEGER) = 1"


def _select_written(session: StoreSession, changes: tuple[ColumnChange, ...]) -> list[ColumnChange]:
    """Return the columns that change for at least one profile: a column that is not touched costs nothing."""
    flags = classify.list_flags(changes)
    found = session.execute(
        f"SELECT {', '.join(f'bit_or({flag})' for flag in flags)} FROM verdicts WHERE verdict = {NUMBER['updated']}"
    ).fetchone()
    assert found is not None
    masks = dict(zip(flags, found, strict=True))
    return [one for one in changes if masks[one.flag] >> one.bit & 1]


def _take_numbers(session: StoreSession, count: int) -> int:
    """Take *count* numbers for new profiles and return the first; they are never given again."""
    found = session.execute("SELECT value FROM store.about WHERE key = 'next_profile'").fetchone()
    assert found is not None
    session.execute("UPDATE store.about SET value = ? WHERE key = 'next_profile'", [str(int(found[0]) + count)])
    return int(found[0])


def _record_objections(session: StoreSession, stage: Stage, plan: ImportPlan, run: int, *, part: int) -> None:
    """
    Record what blocked rows refuse for the profiles they found.

    The row changes nothing else, but a person who says no must be remembered as having said so.
    """
    columns = [session.layout.consents[objective] for objective, _ in plan.consents]
    refuses = [f"coalesce(NOT s.o{number}, false)" for number in range(len(columns))]
    news = [f"({no} AND p.{column} IS DISTINCT FROM false)" for no, column in zip(refuses, columns, strict=True)]
    assignments = [
        f"{column} = CASE WHEN {no} THEN false ELSE p.{column} END" for no, column in zip(refuses, columns, strict=True)
    ]
    rows = f"""(SELECT v.pid, s.* FROM verdicts v JOIN {stage.table} s ON s.rowid = v.rn
            WHERE v.verdict = {NUMBER["consent_blocked"]} AND v.pid IS NOT NULL ORDER BY v.pid) s"""
    changes = classify.list_changes(plan, session.layout)
    places = {one.column: position for position, one in enumerate(changes)}
    _keep_former(
        session,
        plan,
        run=run,
        part=part,
        rows=f"FROM {rows} JOIN store.profiles p ON p.rowid = s.pid WHERE {any_of(news)}",
        flags=before.combine_flags(
            {places[column]: new for column, new in zip(columns, news, strict=True)}, columns=len(changes)
        ),
        changed={unquote_name(column): new for column, new in zip(columns, news, strict=True)},
    )
    session.execute(f"""
        UPDATE store.profiles p SET _changed = {run}, {", ".join(assignments)}
        FROM {rows} WHERE p.rowid = s.pid AND ({any_of(news)})""")


def _execute_exactly(session: StoreSession, statement: str, rows: int) -> None:
    """Execute *statement*. RunError when it changes another number of rows than the counters say."""
    found = session.execute(statement).fetchone()
    if found is None or found[0] != rows:
        raise imbalance_error(
            f"{agree(rows, 'profile', 'was', 'were')} to be written, and the store has {found and found[0]}"
        )
