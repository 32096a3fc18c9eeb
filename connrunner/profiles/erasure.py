"""
One person leaves the store: what holds the person is found, and whom of it the store may never take in again.

A person is found by a value of any identifier: in `profiles`; in `sent`, where partners may know the person by an
identifier of earlier; and in `kept`, among the rows that were refused. What belongs to the person are the identifiers
of the profile, those that were sent, and those of the kept rows; one that another profile holds is that one's.

All of them are compared, and remembered, in the spelling that rows have today: what stands in the store may have one of
earlier (see `respelling`), what was sent has the one of then, and a kept row has that of its source.

`select_person` only looks. It leaves temporary tables that say which rows go:

    respelt     identifiers that stand here or there in another spelling, and that of today
    leaving     the numbers of profiles, of which rows stand in `profiles` or `sent`
    owned       property and text of each identifier of the person
    unkept      the numbers of rows of `kept`
    pardoned    the numbers of persons among the tombstones whose tombstones go
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from connrunner.core.model import Property, PropertyType
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.profiles import domains, respelling, tables, tombstones, values
from connrunner.profiles.exporting.identifiers import extract_text
from connrunner.profiles.exporting.withdrawals import list_withdrawing
from connrunner.profiles.readers.jsonlines import pointer_to
from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import quote_text, quote_texts

_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


@dataclass(frozen=True, kw_only=True, slots=True)
class ErasureJob:
    """The person with the identifier *value* is to leave the store."""

    value: str
    forget: bool = False  # leave no tombstones, and take those of the person away
    dry_run: bool = False
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # import: property -> column
    withdrawals: Mapping[str, Path] = field(default_factory=dict)  # export that sends deletions -> its file of them


@dataclass(frozen=True, kw_only=True, slots=True)
class Erasure:
    """What was found of a person, and removed unless it was a dry run."""

    found: int = 0  # people
    profiles: int = 0  # rows of each table
    sent: int = 0
    kept: int = 0
    forgotten: int = 0  # tombstones that were taken away
    recipients: tuple[str, ...] = ()  # exports that sent the person
    withdrawn: tuple[str, ...] = ()  # those of them that will have the partner delete the person
    marks: tuple[str, ...] = ()  # imports whose mark holds an identifier of the person
    erased_before: bool = False  # there are tombstones of the person


@dataclass(frozen=True, kw_only=True, slots=True)
class _Identifier:
    name: str
    owner: Property
    column: str

    def text(self, alias: str) -> str:
        """Return the expression of the one text form of the identifier of a profile."""
        return values.format_value(self.owner.type, f"{alias}.{self.column}")

    def normalize(self, raw: str) -> str:
        """Return the expression of the one text form of what the text *raw* stands for, but for its domain."""
        return values.format_value(self.owner.type, f"({values.parse_value(self.owner.type, raw)})")

    def of_profiles(self) -> str:
        """Return the query of the identifier of each profile: `profile` and `text`."""
        return self.spelt(f"SELECT p._id AS profile, {self.text('p')} AS text FROM store.profiles p")

    def of_sent(self) -> str:
        """Return the query of the identifier as it was sent of each profile: `profile` and `text`."""
        return self.spelt(f"SELECT s.profile, {extract_text(self.owner, 's.identifiers')} AS text FROM store.sent s")

    def spelt(self, source: str) -> str:
        """Return the query *source*, of which a column is `text`, with the spelling that rows have today."""
        return f"""(SELECT s.* REPLACE (coalesce(r.value, s.text) AS text) FROM ({source}) s
            LEFT JOIN respelt r ON r.property = {quote_text(self.name)} AND r.text = s.text)"""


def select_person(session: StoreSession, job: ErasureJob) -> Erasure:
    """Make the temporary tables for *job* and return what they hold. Nothing in the store changes."""
    identifiers = [
        _Identifier(name=name, owner=owner, column=column)
        for name, (owner, column) in tables.list_identifiers(session.connection, session.model).items()
    ]
    session.execute("""
        CREATE OR REPLACE TEMP TABLE respelt (property VARCHAR, text VARCHAR, value VARCHAR);
        CREATE OR REPLACE TEMP TABLE wanted (property VARCHAR, value VARCHAR);
        CREATE OR REPLACE TEMP TABLE leaving (profile BIGINT);
        CREATE OR REPLACE TEMP TABLE owned (property VARCHAR, value VARCHAR);
        CREATE OR REPLACE TEMP TABLE unkept (number BIGINT);
        CREATE OR REPLACE TEMP TABLE pardoned (person BIGINT)""")
    for one in identifiers:
        _learn_spellings(session, one, f"SELECT {one.text('p')} AS text FROM store.profiles p")
        _learn_spellings(session, one, f"SELECT {extract_text(one.owner, 's.identifiers')} AS text FROM store.sent s")
        wanted = session.one(f"SELECT {one.normalize('r')} FROM (SELECT ?::VARCHAR AS r)", [job.value])
        if wanted is not None:
            is_address = one.owner.type is PropertyType.EMAIL
            value = domains.normalize_address(wanted) if is_address else wanted
            session.execute("INSERT INTO wanted VALUES (?, ?)", [one.name, value])
    _select_profiles(session, identifiers)
    _select_owned(session, identifiers)
    _select_kept(session, identifiers, job.columns)
    before = _select_tombstones(session)
    profiles, sent = session.execute("""
        SELECT (SELECT count(*) FROM store.profiles WHERE _id IN (FROM leaving)), count(*)
        FROM store.sent WHERE profile IN (FROM leaving)""").fetchall()[0]
    kept = session.one("SELECT count(*) FROM unkept")
    people = session.one("SELECT count(DISTINCT profile) FROM leaving") or min(1, kept)
    forgotten = _count_pardoned(session) if job.forget and before else 0
    return Erasure(
        found=people or min(1, forgotten),
        profiles=profiles,
        sent=sent,
        kept=kept,
        forgotten=forgotten,
        recipients=_find_recipients(session),
        withdrawn=list_withdrawing(session, job.withdrawals),
        marks=_find_marks(session),
        erased_before=before,
    )


def _find_recipients(session: StoreSession) -> tuple[str, ...]:
    """Return the exports that sent the person, or were about to when they were cut off."""
    tables_with_rows = ["sent", *(["unconfirmed"] if tables.has_unconfirmed(session.connection) else [])]
    found = " UNION ".join(
        f"SELECT connection FROM store.{name} WHERE profile IN (FROM leaving)" for name in tables_with_rows
    )
    return tuple(name for (name,) in session.execute(f"{found} ORDER BY ALL").fetchall())


def add_tombstones(session: StoreSession) -> None:
    """Add a tombstone for each row of `owned` to the table `fresh.erased`, which has those of earlier."""
    session.execute(f"""
        CREATE OR REPLACE TEMP TABLE digests AS
        SELECT o.property, {tombstones.digest_text("o.property", "o.value")} AS digest FROM owned o, pads k""")
    person = session.one("""
        SELECT coalesce(min(e.person) FILTER (WHERE d.digest IS NOT NULL), max(e.person) + 1, 1)
        FROM fresh.erased e LEFT JOIN digests d ON d.property = e.property AND d.digest = e.digest""")
    session.execute(f"""
        UPDATE fresh.erased SET person = {person} WHERE person IN (
            SELECT e.person FROM fresh.erased e JOIN digests d ON d.property = e.property AND d.digest = e.digest);
        INSERT INTO fresh.erased SELECT property, digest, {person} FROM digests d
        WHERE NOT EXISTS (FROM fresh.erased e WHERE e.property = d.property AND e.digest = d.digest)""")


def _learn_spellings(session: StoreSession, one: _Identifier, texts: str) -> None:
    """Add to `respelt` those of *texts*, a query of `text`, that rows would spell otherwise today."""
    found = respelling.find_other_spellings(session, one.owner, texts)
    if found:
        session.execute(
            """INSERT INTO respelt SELECT ?, x.text, x.value
            FROM (SELECT unnest(?::VARCHAR[]) AS text, unnest(?::VARCHAR[]) AS value) x
            WHERE NOT EXISTS (FROM respelt r WHERE r.property = ? AND r.text = x.text)""",
            [one.name, [*found], [*found.values()], one.name],
        )


def _select_profiles(session: StoreSession, identifiers: Sequence[_Identifier]) -> None:
    """Fill `leaving`: by a value that a profile has, else by one that was sent when the profile had it."""
    for one in identifiers:
        matching = (
            f"SELECT x.profile FROM {{}} x JOIN wanted w ON w.property = {quote_text(one.name)} AND w.value = x.text"
        )
        found = session.one(f"SELECT count(*) FROM ({matching.format(one.of_profiles())})")
        session.execute(f"INSERT INTO leaving {matching.format(one.of_profiles() if found else one.of_sent())}")


def _select_owned(session: StoreSession, identifiers: Sequence[_Identifier]) -> None:
    """Fill `owned` with the identifiers of the profiles in `leaving`, of now and as they were sent."""
    for one in identifiers:
        session.execute(f"""
            INSERT INTO owned
            SELECT {quote_text(one.name)}, x.text FROM (FROM {one.of_profiles()} UNION ALL FROM {one.of_sent()}) x
            WHERE x.profile IN (FROM leaving)""")
    _leave_to_others(session, identifiers, "owned")


def _leave_to_others(session: StoreSession, identifiers: Sequence[_Identifier], table: str) -> None:
    """Take out of *table* what is no value or stands twice, and what a profile that stays holds."""
    session.execute(f"""
        CREATE OR REPLACE TEMP TABLE once AS SELECT DISTINCT * FROM {table} WHERE value IS NOT NULL;
        DELETE FROM {table};
        INSERT INTO {table} FROM once""")
    for one in identifiers:
        session.execute(f"""
            DELETE FROM {table} WHERE property = {quote_text(one.name)} AND value IN (
                SELECT x.text FROM {one.of_profiles()} x
                WHERE x.text IS NOT NULL AND x.profile NOT IN (FROM leaving))""")


def _select_kept(
    session: StoreSession, identifiers: Sequence[_Identifier], columns: Mapping[str, Mapping[str, str]]
) -> None:
    """
    Fill `unkept`, and add to `owned` by what these rows were found and the other identifiers of rows about the person.

    The mapping of an import says in which column an identifier stands. An e-mail address says by itself what it is, so
    it is looked for in all of them, and so is everything in rows of imports that are gone; such a row may be about
    somebody else. A row that could not be read is one text, in which the identifier stands as a word.
    """
    if not session.one("SELECT count(*) FROM store.kept"):
        return
    source = "owned" if session.one("SELECT count(*) FROM owned") else "wanted"
    session.execute(f"""
        CREATE OR REPLACE TEMP TABLE sought AS SELECT DISTINCT * FROM {source};
        CREATE OR REPLACE TEMP TABLE hits (number BIGINT, property VARCHAR, value VARCHAR, own BOOLEAN);
        CREATE OR REPLACE TEMP TABLE leaves AS
        SELECT k.number, k.connection, k.flaw IS NOT NULL AS flawed, t.atom->>'$' AS text
        FROM store.kept k, json_tree(k.record::JSON) t WHERE t.atom IS NOT NULL""")
    _leave_to_others(session, identifiers, "sought")
    known = quote_texts(columns)
    for one in identifiers:
        is_sought = f"s.property = {quote_text(one.name)}"
        leaves = f"SELECT l.number, l.connection, {one.normalize('l.text')} AS text FROM leaves l"
        mapped = _in_columns(one, columns)
        for texts in (leaves, mapped):
            _learn_spellings(session, one, texts)
        anywhere = "true" if one.owner.type is PropertyType.EMAIL else f"NOT list_contains({known}, l.connection)"
        session.execute(f"""
            INSERT INTO hits
            SELECT l.number, s.property, s.value, false FROM {one.spelt(leaves)} l JOIN sought s
            ON {is_sought} AND {anywhere} AND l.text = s.value
            UNION ALL SELECT k.number, s.property, s.value, true FROM {one.spelt(mapped)} k JOIN sought s
            ON {is_sought} AND k.text = s.value""")
        _select_flawed(session, one)
    session.execute("""
        INSERT INTO unkept SELECT DISTINCT number FROM hits;
        INSERT INTO owned SELECT property, value FROM hits""")
    for one in identifiers:
        session.execute(f"""
            INSERT INTO owned SELECT {quote_text(one.name)}, k.text FROM {one.spelt(_in_columns(one, columns))} k
            WHERE k.number IN (SELECT number FROM hits WHERE own)""")
    _leave_to_others(session, identifiers, "owned")


def _select_flawed(session: StoreSession, one: _Identifier) -> None:
    """Add to `hits` the rows that could not be read in which a sought value stands as a word, however it is spelled."""
    sought = session.execute("SELECT value FROM sought WHERE property = ?", [one.name]).fetchall()
    flawed = session.execute("SELECT number, text FROM leaves WHERE flawed").fetchall() if sought else []
    for (value,) in sought:
        spellings = {value, domains.spell_in_ascii(value)} if one.owner.type is PropertyType.EMAIL else {value}
        words = "|".join(re.escape(_fold(spelling)) for spelling in sorted(spellings))
        pattern = re.compile(rf"(?<![^\W_])(?:{words})(?![^\W_])")
        found = [number for number, text in flawed if pattern.search(_fold(text))]
        session.execute(
            "INSERT INTO hits SELECT unnest(?::BIGINT[]), ?, ?, false", [sorted(set(found)), one.name, value]
        )


def _fold(text: str) -> str:
    """Return *text* in the form in which words are compared: one case, one form of Unicode, no escapes of JSON."""
    plain = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", plain).casefold())


def _in_columns(one: _Identifier, columns: Mapping[str, Mapping[str, str]]) -> str:
    """Return the query of the identifier in kept rows of imports that have a column for it: `number` and `text`."""
    found = ["SELECT NULL::BIGINT AS number, NULL::VARCHAR AS text WHERE false"]
    for connection, places in columns.items():
        if one.name in places:
            raw = f"json_extract_string(k.record::JSON, {quote_text(pointer_to(places[one.name]))})"
            found.append(f"""SELECT k.number, {one.normalize(raw)} AS text FROM store.kept k
                WHERE k.connection = {quote_text(connection)}""")
    return " UNION ALL ".join(found)


def _select_tombstones(session: StoreSession) -> bool:
    """Fill `pardoned` with whose tombstones are those of the person; return whether there are any."""
    if not tombstones.has_tombstones(session):
        return False
    tombstones.load_pads(session, tombstones.require_key(session))
    session.execute(f"""
        INSERT INTO pardoned SELECT DISTINCT e.person FROM store.erased e, pads k, (FROM owned UNION FROM wanted) o
        WHERE e.property = o.property AND e.digest = {tombstones.digest_text("o.property", "o.value")}""")
    return bool(session.one("SELECT count(*) FROM pardoned"))


def _count_pardoned(session: StoreSession) -> int:
    return int(session.one("SELECT count(*) FROM store.erased WHERE person IN (FROM pardoned)"))


def _find_marks(session: StoreSession) -> tuple[str, ...]:
    """Return the imports whose mark holds an identifier of the person; only their next run changes it."""
    rows = session.execute("""
        SELECT DISTINCT m.connection FROM store.marks m, json_tree(m.mark::JSON) t
        JOIN owned o ON o.value = t.atom->>'$' WHERE t.atom IS NOT NULL ORDER BY ALL""").fetchall()
    return tuple(name for (name,) in rows)
