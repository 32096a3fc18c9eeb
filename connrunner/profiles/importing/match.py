"""
Which profile is a row about?

A row finds the profiles that any group of its identifiers finds; within a group all must agree. One profile is a
match, several different ones make the row ambiguous. Rows of one file that share a key, or that found the same
profile, are about one person, and so are rows that are linked through others; of those the last one wins. Where linked
rows found different profiles, it cannot be told whom they are about: all of them are ambiguous.

Rows that are refused for what they hold take no part: a sound row stands although a later, refused one has its key.
"""

from __future__ import annotations

from collections.abc import Sequence

from connrunner.lazy_dataclasses import dataclass
from connrunner.profiles.importing.stage import Stage
from connrunner.profiles.mapping import ImportPlan, MappedField
from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import all_of, quote_text

SKIPPED, AMBIGUOUS, LINKED, DUPLICATE = 1, 2, 3, 4
MOST_BITS = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Matches:
    """
    How the staged rows `s` meet their profiles `p`.

    *join* is the SQL between `FROM stage s` and what follows. When *fated*, the temporary table `fates` says of some
    rows (`rn`, `fate`, and for a duplicate the `winner`) what becomes of them whatever they hold.
    """

    join: str
    fated: bool


def match_rows(session: StoreSession, stage: Stage, plan: ImportPlan, *, retry: bool) -> Matches:
    """Find each row's profile. To *retry*, only the rows in `refused` count; the others show which is last."""
    session.execute("CREATE OR REPLACE TEMP TABLE fates (rn BIGINT, fate UTINYINT, winner BIGINT)")
    if plan.finds_by_one_identifier:
        key = plan.groups[0][0]
        # One equation and no more: with a second condition some versions of DuckDB compare each row with each profile.
        sound = f"CASE WHEN s.bad IS NULL THEN s.v{key.number} END"
        join = f"LEFT JOIN store.profiles p ON {sound} = {session.layout.value(key.field.property)}"
    else:
        _find_profiles(session, stage, plan)
        _link_rows(session, stage, plan)
        join = "LEFT JOIN targets t ON t.rn = s.rowid LEFT JOIN store.profiles p ON p.rowid = t.pid"
    if retry:
        session.execute(f"""
            DELETE FROM fates WHERE rn NOT IN (FROM refused);
            INSERT INTO fates SELECT rowid, {SKIPPED}, NULL FROM {stage.table} WHERE rowid NOT IN (FROM refused)""")
    fated = session.execute("SELECT 1 FROM fates LIMIT 1").fetchone() is not None
    if fated:
        join = f"LEFT JOIN fates f ON f.rn = s.rowid {join}"
    return Matches(join=join, fated=fated)


def mark_duplicates(session: StoreSession, stage: Stage, key: MappedField, *, retry: bool) -> bool:
    """
    Note in `fates` the rows of `verdicts` whose *key* a later row has, too; return whether there are any.

    For plans that find by one identifier, whose rows have a key in common when they found the same profile, or, where
    they found none, the same value: numbers are compared far faster than texts, and few rows find none.
    """
    value = f"v{key.number}"
    found, other = session.execute(f"SELECT count(pid), {_count_different(session)} FROM verdicts").fetchall()[0]
    new = f"""SELECT s.{value} AS value FROM verdicts v JOIN {stage.table} s ON s.rowid = v.rn
        WHERE v.pid IS NULL AND s.bad IS NULL"""
    added, another = session.execute(f"SELECT count(value), count(DISTINCT value) FROM ({new})").fetchall()[0]
    if (found, added) == (other, another):
        return False
    session.execute(f"""
        INSERT INTO fates
        SELECT s.rowid, {DUPLICATE}, twice.winner
        FROM {stage.table} s JOIN (
            SELECT {value} AS value, max(rowid) AS winner FROM {stage.table}
            WHERE bad IS NULL GROUP BY {value} HAVING count(*) > 1
        ) twice ON s.{value} = twice.value
        WHERE s.bad IS NULL AND s.rowid <> twice.winner {"AND s.rowid IN (FROM refused)" if retry else ""}""")
    return True


def _count_different(session: StoreSession) -> str:
    """Return the expression of how many different `pid` there are in `verdicts`."""
    highest = session.execute("SELECT max(pid) FROM verdicts").fetchall()[0][0] or 0
    # One bit for each profile costs a fifth of a hash table; rows that this transaction added have far numbers.
    return f"bit_count(bitstring_agg(pid, 0, {highest}))" if highest < MOST_BITS else "count(DISTINCT pid)"


def meets_profile(session: StoreSession, group: Sequence[MappedField]) -> str:
    """Return the condition that the row `s` and the profile `p` agree in all identifiers of *group*."""
    return all_of(f"s.v{mapped.number} = {session.layout.value(mapped.field.property)}" for mapped in group)


def list_finds(session: StoreSession, stage: Stage, plan: ImportPlan) -> None:
    """Make `finds`: for each ambiguous row, which identifiers found which profiles, as JSON and in words."""
    session.execute(f"""
        CREATE OR REPLACE TEMP TABLE unclear AS
        SELECT rowid AS rn, * FROM {stage.table}
        WHERE rowid IN (SELECT rn FROM fates WHERE fate IN ({AMBIGUOUS}, {LINKED}))""")
    names = ["+".join(mapped.field.property for mapped in group) for group in plan.groups]
    hits = " UNION ALL ".join(
        f"""SELECT s.rn, {place} AS place, {quote_text(name)} AS name, p._id AS profile
            FROM unclear s JOIN store.profiles p ON {meets_profile(session, group)}"""
        for place, (name, group) in enumerate(zip(names, plan.groups, strict=True))
    )
    session.execute(f"""
        CREATE OR REPLACE TEMP TABLE finds AS
        SELECT rn, ('{{' || string_agg(to_json(name) || ':' || profile, ',' ORDER BY place) || '}}')::JSON AS finds,
            string_agg(name || ' finds profile ' || profile, ', ' ORDER BY place) AS words
        FROM ({hits}) GROUP BY rn""")


def _find_profiles(session: StoreSession, stage: Stage, plan: ImportPlan) -> None:
    """Make `found`: for each row that finds any, the lowest and the highest profile."""
    hits = " UNION ALL ".join(
        f"""SELECT s.rowid AS rn, p.rowid AS pid
            FROM {stage.table} s JOIN store.profiles p ON {meets_profile(session, group)} WHERE s.bad IS NULL"""
        for group in plan.groups
    )
    session.execute(f"""
        CREATE OR REPLACE TEMP TABLE found AS SELECT rn, min(pid) AS lo, max(pid) AS hi FROM ({hits}) GROUP BY rn;
        INSERT INTO fates SELECT rn, {AMBIGUOUS}, NULL FROM found WHERE lo <> hi""")


def _link_rows(session: StoreSession, stage: Stage, plan: ImportPlan) -> None:
    """Make `targets`, the profile of each row that has one; linked rows meet one fate."""
    keys = {mapped.number: f"v{mapped.number}" for group in plan.groups for mapped in group}
    links = []
    for group in plan.groups:
        columns = ", ".join(keys[mapped.number] for mapped in group)
        complete = all_of(f"{keys[mapped.number]} IS NOT NULL" for mapped in group)
        same = all_of(f"s.{keys[mapped.number]} = k.{keys[mapped.number]}" for mapped in group)
        links.append(f"""SELECT s.rn AS a, k.first AS b FROM sound s JOIN (
            SELECT {columns}, min(rn) AS first FROM sound WHERE {complete} GROUP BY {columns} HAVING count(*) > 1
        ) k ON {same} WHERE s.rn <> k.first""")
    links.append("""SELECT s.rn AS a, k.first AS b FROM found s JOIN (
        SELECT lo, min(rn) AS first FROM found WHERE lo = hi GROUP BY lo HAVING count(*) > 1
    ) k ON s.lo = k.lo AND s.lo = s.hi WHERE s.rn <> k.first""")
    session.execute(f"""
        CREATE OR REPLACE TEMP TABLE links AS
        WITH sound AS (
            SELECT rowid AS rn, {", ".join(keys.values())} FROM {stage.table}
            WHERE bad IS NULL AND rowid NOT IN (SELECT rn FROM fates)
        ) SELECT DISTINCT unnest([a, b]) AS a, unnest([b, a]) AS b FROM ({" UNION ALL ".join(links)})""")
    _spread_roots(session)
    session.execute(f"""
        CREATE OR REPLACE TEMP TABLE linked_groups AS
        SELECT root, max(rn) AS winner, min(lo) AS lo, max(hi) AS hi
        FROM roots LEFT JOIN found USING (rn) GROUP BY root;
        INSERT INTO fates
        SELECT rn, CASE WHEN lo <> hi THEN {LINKED} ELSE {DUPLICATE} END,
            CASE WHEN lo = hi OR lo IS NULL THEN winner END
        FROM roots JOIN linked_groups USING (root) WHERE lo <> hi OR rn <> winner;
        CREATE OR REPLACE TEMP TABLE targets AS
        SELECT coalesce(f.rn, c.winner) AS rn, coalesce(c.lo, f.lo) AS pid
        FROM (SELECT rn, lo FROM found WHERE lo = hi) f FULL JOIN linked_groups c ON c.winner = f.rn
        WHERE coalesce(c.lo, f.lo) IS NOT NULL""")


def _spread_roots(session: StoreSession) -> None:
    """
    Make `roots`: for each row of `links` the first row that it is linked with, however long the chain.

    Each round a row takes the lowest root that its neighbours' roots know of, and hands it to its own root; a chain of
    n rows is done after about log n rounds.
    """
    session.execute("CREATE OR REPLACE TEMP TABLE roots AS SELECT DISTINCT a AS rn, a AS root FROM links")
    before = None
    while before != (now := session.execute("SELECT sum(root) FROM roots").fetchone()):
        before = now
        session.execute("""
            CREATE OR REPLACE TEMP TABLE above AS
            SELECT r.rn, r.root, g.root AS top FROM roots r JOIN roots g ON g.rn = r.root;
            CREATE OR REPLACE TEMP TABLE roots AS
            SELECT rn, min(root) AS root FROM (
                SELECT rn, top AS root FROM above
                UNION ALL SELECT l.a, n.top FROM links l JOIN above n ON n.rn = l.b
                UNION ALL SELECT m.root, n.top FROM links l JOIN above m ON m.rn = l.a JOIN above n ON n.rn = l.b
            ) GROUP BY rn""")
