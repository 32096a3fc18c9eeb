"""
No two profiles have one number: those that an older connrunner gave twice are given anew, once.

An import of a file with lines that hold no record gave numbers beyond those that it had taken, and the next import gave
some of them again. What exports had sent under such a number may be of either profile, so it is forgotten: both are
offered again.
"""

from __future__ import annotations

from connrunner.profiles import tables
from connrunner.profiles.session import StoreSession
from connrunner.text.words import plural

_TWICE = "SELECT _id FROM store.profiles GROUP BY _id HAVING count(*) > 1"


def renumber_profiles(session: StoreSession) -> None:
    """Give the later ones of profiles with one number new numbers, in one transaction, unless that was done before."""
    if int(session.one("SELECT value FROM store.about WHERE key = 'numbering'") or 1) >= tables.NUMBERING:
        return
    with session.transaction():
        session.execute(f"""
            CREATE OR REPLACE TEMP TABLE renumbered AS
            SELECT pid, _id, row_number() OVER (ORDER BY _id, place) - 1 AS more FROM (
                SELECT rowid AS pid, _id, row_number() OVER (PARTITION BY _id ORDER BY _created, rowid) AS place
                FROM store.profiles WHERE _id IN ({_TWICE})
            ) WHERE place > 1""")
        count = int(session.one("SELECT count(*) FROM renumbered"))
        session.execute("DELETE FROM store.sent WHERE profile IN (SELECT _id FROM renumbered)")
        session.execute("DELETE FROM store.unconfirmed WHERE profile IN (SELECT _id FROM renumbered)")
        taken = "SELECT value::BIGINT FROM store.about WHERE key = 'next_profile'"
        first = int(session.one(f"SELECT greatest(({taken}), (SELECT coalesce(max(_id), 0) + 1 FROM store.profiles))"))
        session.execute(f"UPDATE store.profiles p SET _id = {first} + r.more FROM renumbered r WHERE p.rowid = r.pid")
        session.execute("UPDATE store.about SET value = ? WHERE key = 'next_profile'", [str(first + count)])
        session.execute("DELETE FROM store.about WHERE key = 'numbering'")
        session.execute("INSERT INTO store.about VALUES ('numbering', ?)", [str(tables.NUMBERING)])
    if count:
        session.report.message(
            f"an older version gave the number of another profile to {plural(count, 'profile')}, which now have their"
            " own; exports offer all of these again, and one that has left a selection meanwhile is not withdrawn",
            level="warning",
        )
