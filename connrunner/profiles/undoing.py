"""
An import is undone: what stood in its profiles before it comes back, but for what a later run has changed since.

All is one transaction. The run leaves the history of each value as if it had not been: where a later run has changed
the value again, what that run would put back is now what stood there before the run that is undone.
"""

from __future__ import annotations

from collections.abc import Sequence

from connrunner.core import instant
from connrunner.core.counts import Counts, imbalance_error
from connrunner.core.model import Property
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass
from connrunner.profiles import before, recorded_runs, rejects, tombstones, values
from connrunner.profiles.before import UndoableRun
from connrunner.profiles.importing.differences import MOST, SEPARATOR
from connrunner.profiles.jobs import UndoJob
from connrunner.profiles.results import Difference, UndoResult
from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import any_of, quote_name, quote_text
from connrunner.profiles.tables import read_stored_columns
from connrunner.text.words import agree

KEPT_AWAY = {
    "superseded": "a later run has changed it since",
    "identifier-taken": "another profile has that value now",
    "erased": "that value belongs to somebody who was erased",
}


@dataclass(frozen=True, slots=True)
class _Column:
    """A column that the run changed; in `undoing`: tN (changed), rN (comes back), wN (what stood there)."""

    number: int
    column: str  # its plain name
    title: str  # the property, or `consent to OBJECTIVE`
    owner: Property | None  # None for the answer to an objective

    @property
    def name(self) -> str:
        return quote_name(self.column)

    def write(self, value: str) -> str:
        """Return the expression of the text of *value*."""
        if self.owner is None:
            return f"({value})::VARCHAR"
        return values.format_joined(self.owner, f"({value})", SEPARATOR)


def undo_run(session: StoreSession, job: UndoJob) -> UndoResult:
    """See `ProfileStore.undo`."""
    rejects.create_rejects(session)
    with session.transaction(keep=not job.dry_run):
        target = _find_run(session, job)
        number = recorded_runs.start_record(session, job.stamp, "undo")
        columns = _load_former(session, target)
        later = _list_later(session, target.run)
        _load_later(session, columns, later)
        _choose(session, columns)
        counts, superseded = _count(session, columns)
        differences = _select_differences(session, columns) if job.dry_run else []
        _list_superseded(session, columns)
        rejects.write_rejects(session, job.rejects)
        _hand_on(session, columns, later)
        _apply(session, columns, number)
        _forget(session, job, target, number)
        detail = {"undone": job.run, "superseded": superseded, **({"reason": job.reason} if job.reason else {})}
        recorded_runs.finish_record(session, number, counts, detail)
    return UndoResult(counts=counts, detail=detail, superseded=superseded, differences=tuple(differences))


def _find_run(session: StoreSession, job: UndoJob) -> UndoableRun:
    """Return the run that is to be undone. RunError when it cannot be, and why."""
    name = f"run {job.run} of {job.stamp.connection}"
    found = session.execute(
        "SELECT id, kind FROM store.runs WHERE connection = ? AND run = ?", [job.stamp.connection, job.run]
    ).fetchone()
    if found is None:
        raise RunError(f"{name} changed nothing in the profile store", hint="there is nothing to undo", code="no-undo")
    number, kind = found
    if kind != "import":
        what = "an export; its next run sends the difference" if kind == "export" else "an undo itself"
        hint = "undo the import that filled the profiles" if kind == "export" else "run the import again instead"
        raise RunError(f"{name} was {what}: it cannot be undone", hint=hint, code="no-undo")
    known = session.execute(
        "SELECT columns, expires > ?::TIMESTAMPTZ, undone FROM store.undo_runs WHERE run = ?",
        [instant.text(job.stamp.at), number],
    ).fetchone()
    if known is not None and known[2] is not None:
        by = session.one("SELECT run FROM store.runs WHERE id = ?", [known[2]])
        raise RunError(f"{name} has been undone already, by run {by}", code="no-undo")
    if known is None or not known[1]:
        raise RunError(
            f"what {name} overwrote is not kept any more, so it cannot be undone",
            hint="`undo: {keep: 30d}` of a connection says for how long its later runs can be",
            code="no-undo",
        )
    return UndoableRun(run=number, columns=tuple(known[0]))


def _list_later(session: StoreSession, run: int) -> list[UndoableRun]:
    """Return the imports after *run* that have not been undone."""
    found = session.execute(
        "SELECT run, columns FROM store.undo_runs WHERE run > ? AND undone IS NULL ORDER BY run", [run]
    ).fetchall()
    return [UndoableRun(run=number, columns=tuple(columns)) for number, columns in found]


def _load_former(session: StoreSession, target: UndoableRun) -> list[_Column]:
    """Make `undoing`: the profiles that *target* changed, with their former values; `created` are those it created."""
    source = f"store.before b WHERE b.run = {target.run}"
    flags = [before.flag_of(position, "b") for position in range(len(target.columns))]
    found = session.execute(f"SELECT {', '.join(f'bool_or({flag})' for flag in flags)} FROM {source}").fetchone()
    titles = _describe_columns(session)
    columns = [
        _Column(number, target.columns[position], *titles[target.columns[position]])
        for number, position in enumerate(
            position for position, touched in enumerate(found or ()) if touched and target.columns[position] in titles
        )
    ]
    parts = []
    for one in columns:
        flag = before.flag_of(target.columns.index(one.column), "b")
        # The first change of the run found what had been there before it.
        value = f"first(b.{before.name_former(one.column)} ORDER BY b.part) FILTER ({flag})"
        parts.append(f"bool_or({flag}) AS t{one.number}, true AS r{one.number}, {value} AS w{one.number}")
    session.execute(f"""
        CREATE OR REPLACE TEMP TABLE created AS
        SELECT _id AS profile, true AS goes FROM store.profiles WHERE _created = {target.run};
        CREATE OR REPLACE TEMP TABLE undoing AS
        SELECT {", ".join(["b.profile", *parts])} FROM {source}
            AND b.profile IN (SELECT _id FROM store.profiles) AND b.profile NOT IN (SELECT profile FROM created)
        GROUP BY b.profile""")
    return columns


def _describe_columns(session: StoreSession) -> dict[str, tuple[str, Property | None]]:
    """Return, by plain column of `profiles`, what people call it and the property that it keeps."""
    found: dict[str, tuple[str, Property | None]] = {}
    for name, stored in read_stored_columns(session.connection).items():
        declared = session.model.properties.get(name)
        # What is not declared any more is masked.
        personal = declared.personal if declared else True
        owner = Property(
            name=name,
            type=stored.owner.type,
            many=stored.owner.many,
            identifier=stored.owner.identifier,
            personal=personal,
        )
        found[stored.column] = (name, owner)
    for name, column in session.execute('SELECT name, "column" FROM store.objectives').fetchall():
        found[column] = (f"consent to {name}", None)
    return found


def _load_later(session: StoreSession, columns: Sequence[_Column], later: Sequence[UndoableRun]) -> None:
    """Make `later`: of the profiles that the run changed or created, which columns (lN) later runs have changed."""
    changes = [f"false AS l{one.number}" for one in columns]
    rows = [f"SELECT {', '.join(['NULL::BIGINT AS profile', *changes])} WHERE false"]
    for run in later:
        changes = [f"{run.touches(one.column)} AS l{one.number}" for one in columns]
        rows.append(f"SELECT {', '.join(['b.profile', *changes])} FROM store.before b WHERE b.run = {run.run}")
    changes = [f"bool_or(l{one.number}) AS l{one.number}" for one in columns]
    session.execute(f"""
        CREATE OR REPLACE TEMP TABLE later AS
        SELECT {", ".join(["profile", *changes])} FROM ({" UNION ALL ".join(rows)})
        WHERE profile IN (SELECT profile FROM undoing UNION ALL SELECT profile FROM created) GROUP BY profile""")


def _choose(session: StoreSession, columns: Sequence[_Column]) -> None:
    """Decide what comes back, and why the rest does not: `reasons` (profile, number of the column, code)."""
    session.execute("""
        CREATE OR REPLACE TEMP TABLE reasons (profile BIGINT, number INTEGER, code VARCHAR);
        UPDATE created SET goes = false WHERE profile IN (SELECT profile FROM later)""")
    for one in columns:
        _keep_away(session, one, "superseded", f"SELECT profile FROM later WHERE l{one.number}")
    identifying = [one for one in columns if one.owner and one.owner.identifier and not one.owner.many]
    if tombstones.has_tombstones(session):
        tombstones.load_pads(session, tombstones.require_key(session))
        for one in identifying:
            assert one.owner is not None
            digest = tombstones.digest_value(one.title, one.owner.type, f"u.w{one.number}")
            hits = f"""SELECT u.profile FROM undoing u, pads k, store.erased e
                WHERE u.w{one.number} IS NOT NULL AND e.property = {quote_text(one.title)} AND e.digest = {digest}"""
            _keep_away(session, one, "erased", hits)
    # What does not come back may be in the way of what would: until nothing is any more.
    while sum(_keep_away(session, one, "identifier-taken", _select_taken(one)) for one in identifying):
        pass


def _select_taken(one: _Column) -> str:
    """Return the query of the profiles that would get what another profile has when all is done."""
    return f"""
        WITH final AS (
            SELECT p._id AS profile,
                CASE WHEN u.t{one.number} AND u.r{one.number} THEN u.w{one.number} ELSE p.{one.name} END AS value
            FROM store.profiles p LEFT JOIN undoing u ON u.profile = p._id LEFT JOIN created c ON c.profile = p._id
            WHERE NOT coalesce(c.goes, false)
        ), taken AS (
            SELECT value FROM final
            WHERE value IN (SELECT w{one.number} FROM undoing WHERE t{one.number} AND r{one.number})
            GROUP BY value HAVING count(*) > 1
        )
        SELECT profile FROM undoing WHERE w{one.number} IN (SELECT value FROM taken)"""


def _keep_away(session: StoreSession, one: _Column, code: str, profiles: str) -> int:
    """Let the column not come back for those of the query *profiles*, and return how many that are."""
    condition = f"t{one.number} AND r{one.number} AND profile IN ({profiles})"
    session.execute(f"CREATE OR REPLACE TEMP TABLE away AS SELECT profile FROM undoing WHERE {condition}")
    count = int(session.one("SELECT count(*) FROM away"))
    if count:
        session.execute(f"""
            INSERT INTO reasons SELECT profile, {one.number}, {quote_text(code)} FROM away;
            UPDATE undoing SET r{one.number} = false WHERE profile IN (SELECT profile FROM away)""")
    return count


def _differs(columns: Sequence[_Column]) -> str:
    """Return the condition that anything of the profile `p` comes back by the row `u`."""
    return any_of(_comes_back(one) for one in columns)


def _comes_back(one: _Column) -> str:
    return f"u.t{one.number} AND u.r{one.number} AND p.{one.name} IS DISTINCT FROM u.w{one.number}"


def _count(session: StoreSession, columns: Sequence[_Column]) -> tuple[Counts, int]:
    """Return the counters, by which each profile is updated, deleted or unchanged, and how much does not come back."""
    updated, others = session.execute(f"""
        SELECT count(*) FILTER ({_differs(columns)}), count(*) FILTER (NOT ({_differs(columns)}))
        FROM undoing u JOIN store.profiles p ON p._id = u.profile""").fetchall()[0]
    deleted, staying = session.execute(
        "SELECT count(*) FILTER (goes), count(*) FILTER (NOT goes) FROM created"
    ).fetchall()[0]
    superseded = int(
        session.one("SELECT (SELECT count(*) FROM reasons) + (SELECT count(*) FROM created WHERE NOT goes)")
    )
    total = updated + others + deleted + staying
    counts = Counts(read=total, checked=total, updated=updated, deleted=deleted, unchanged=others + staying)
    if problem := counts.imbalance():
        raise imbalance_error(problem)
    return counts, superseded


def _describe_profile(session: StoreSession, *, masked: bool) -> str:
    """Return the expression of the identifiers of the profile `p`, as people read them."""
    parts = []
    for one in session.model.properties.values():
        if one.identifier and not one.many and one.name in session.layout.columns:
            text = values.format_value(one.type, f"p.{session.layout.columns[one.name]}")
            shown = values.redact(text, personal=one.personal) if masked else text
            parts.append(f"{quote_text(one.name + '=')} || {shown}")
    return f"concat_ws(', ', {', '.join([*parts, 'NULL'])})"


def _select_differences(session: StoreSession, columns: Sequence[_Column]) -> list[Difference]:
    """Return the first values that would come back, and the first profiles that would go."""
    key = _describe_profile(session, masked=False)
    ones = ", ".join(
        f"""CASE WHEN {_comes_back(one)} THEN {{place: {one.number}, property: {quote_text(one.title)},
            old: {one.write(f"p.{one.name}")}, new: {one.write(f"u.w{one.number}")}}} END"""
        for one in columns
    )
    found = []
    if columns:
        found = session.execute(f"""
            SELECT key, one.property, one.old, one.new FROM (
                SELECT p._id AS number, {key} AS key, unnest([{ones}]) AS one
                FROM undoing u JOIN store.profiles p ON p._id = u.profile
            ) WHERE one IS NOT NULL ORDER BY number, one.place LIMIT {MOST}""").fetchall()
    differences = [Difference(profile=row[0], property=row[1], old=row[2], new=row[3]) for row in found]
    gone = session.execute(f"""
        SELECT {key} FROM created c JOIN store.profiles p ON p._id = c.profile
        WHERE c.goes ORDER BY p._id LIMIT {MOST - len(differences)}""").fetchall()
    return differences + [
        Difference(profile=row[0], property="the profile", old="it is there", new=None) for row in gone
    ]


def _list_superseded(session: StoreSession, columns: Sequence[_Column]) -> None:
    """Put into `rejects` what does not come back, and why."""
    key = _describe_profile(session, masked=True)
    messages = " ".join(f"WHEN {quote_text(code)} THEN {quote_text(text)}" for code, text in KEPT_AWAY.items())
    titles = " ".join(f"WHEN {one.number} THEN {quote_text(one.title)}" for one in columns)
    title = f"CASE r.number {titles} END" if titles else "''"
    session.execute(f"""
        INSERT INTO rejects BY NAME
        SELECT '' AS file, 0 AS part, {key} AS key, {title} AS field, 'undo' AS stage, r.code AS code,
            CASE r.code {messages} END AS message, r.profile AS profile
        FROM reasons r JOIN store.profiles p ON p._id = r.profile;
        INSERT INTO rejects BY NAME
        SELECT '' AS file, 0 AS part, {key} AS key, '' AS field, 'undo' AS stage, 'superseded' AS code,
            'the run created it, and a later run has changed it since: it stays' AS message, c.profile AS profile
        FROM created c JOIN store.profiles p ON p._id = c.profile WHERE NOT c.goes""")


def _hand_on(session: StoreSession, columns: Sequence[_Column], later: Sequence[UndoableRun]) -> None:
    """Let the first later run that changed a value again put back what stood there before the run that is undone."""
    if not later:
        return
    place = "(b.run::BIGINT << 32) + b.part"
    for one in columns:
        runs = [run for run in later if one.column in run.columns]
        if not runs or not session.one(f"SELECT 1 FROM later WHERE l{one.number} LIMIT 1"):
            continue
        touched = any_of(f"b.run = {run.run} AND {run.touches(one.column)}" for run in runs)
        session.execute(f"""
            UPDATE store.before b SET {before.name_former(one.column)} = f.value
            FROM (
                SELECT b.profile, min({place}) AS place, any_value(u.w{one.number}) AS value
                FROM store.before b JOIN undoing u ON u.profile = b.profile
                WHERE u.t{one.number} AND ({touched}) GROUP BY b.profile
            ) f WHERE b.profile = f.profile AND {place} = f.place""")
    session.execute(f"""
        UPDATE store.profiles p SET _created = f.run
        FROM (
            SELECT b.profile, min(b.run) AS run FROM store.before b JOIN created c ON c.profile = b.profile
            WHERE NOT c.goes AND b.run IN ({", ".join(str(run.run) for run in later)}) GROUP BY b.profile
        ) f WHERE p._id = f.profile""")


def _apply(session: StoreSession, columns: Sequence[_Column], number: int) -> None:
    """Bring back what comes back, as the store's run *number*, and remove the profiles that go."""
    if columns:
        new = (
            f"{one.name} = CASE WHEN u.t{one.number} AND u.r{one.number} THEN u.w{one.number} ELSE p.{one.name} END"
            for one in columns
        )
        session.execute(f"""
            UPDATE store.profiles p SET _changed = {number}, {", ".join(new)}
            FROM undoing u WHERE p._id = u.profile AND ({_differs(columns)})""")
    found = session.execute(
        "DELETE FROM store.profiles WHERE _id IN (SELECT profile FROM created WHERE goes)"
    ).fetchone()
    gone = int(session.one("SELECT count(*) FROM created WHERE goes"))
    if found is None or found[0] != gone:
        raise imbalance_error(f"{agree(gone, 'profile', 'was', 'were')} to be removed, and the store has {found}")


def _forget(session: StoreSession, job: UndoJob, target: UndoableRun, number: int) -> None:
    """Record that the run is undone; its refused rows are offered no more, for they are of the same delivery."""
    session.execute("UPDATE store.undo_runs SET undone = ? WHERE run = ?", [number, target.run])
    session.execute(
        "DELETE FROM store.before WHERE run = ? OR profile IN (SELECT profile FROM created WHERE goes)", [target.run]
    )
    session.execute("UPDATE store.files SET refused = [] WHERE run = ?", [target.run])
    session.execute("DELETE FROM store.kept WHERE connection = ? AND run = ?", [job.stamp.connection, target.run])
