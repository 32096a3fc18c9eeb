"""The key of a profile in the ledger of a destination: it means one profile of one store, and is never used again."""

from __future__ import annotations

STORE_ID = "store_id"  # of the facts about the store


def row_key(profile: str) -> str:
    """Return the expression of the key of the profile with the number *profile*, an expression."""
    return f"concat((SELECT value FROM store.about WHERE key = '{STORE_ID}'), '-', {profile})"
