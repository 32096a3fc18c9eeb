"""A digest of rows that does not depend on their order."""

from __future__ import annotations

import hashlib

from connrunner.profiles.session import StoreSession

AT_ONCE = 100  # groups


def digest_rows(session: StoreSession, expression: str, source: str) -> str:
    """Return a digest of the *expression*, a text, of each row of *source*, the part of a query behind FROM.

    Rows are taken in 4,096 groups, so that no text grows with their number.
    """
    groups = session.execute(f"""
        SELECT string_agg(digest, '' ORDER BY digest) FROM (SELECT sha256({expression}) AS digest FROM {source})
        GROUP BY digest[1:3] ORDER BY digest[1:3]""")
    whole = hashlib.sha256()
    while rows := groups.fetchmany(AT_ONCE):
        whole.update("".join(text for (text,) in rows).encode())
    return whole.hexdigest()
