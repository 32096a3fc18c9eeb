"""
When does a query give its rows in the order in which a table or a file has them?

DuckDB keeps that order through everything but a join, a union, a sort or a group, and an optimizer may make a join of
what looks like none: a list of constants after IN is enough. So its plan is asked.
"""

from __future__ import annotations

import json

from connrunner.profiles.session import StoreSession


def find_detour(session: StoreSession, query: str) -> str:
    """
    Return the first step in which DuckDB brings several inputs of *query* together; empty when there is none.

    A *query* without ORDER BY, GROUP BY and DISTINCT then keeps the order of what it reads.
    """
    found = session.execute(f"EXPLAIN (FORMAT json) {query}").fetchall()
    node = json.loads(found[0][1])[0]
    while node["children"]:
        if len(node["children"]) > 1:
            return str(node["name"]).strip()
        node = node["children"][0]
    return ""


def order_by_number(session: StoreSession, query: str) -> str:
    """
    Return what *query* needs behind it to give profiles `p` in the order of their numbers: mostly nothing.

    New profiles are written behind the others, so they mostly stand in that order; to see that they do takes a
    hundredth of the time that it takes to sort them.
    """
    if not find_detour(session, query) and _is_in_order(session):
        return ""
    return " ORDER BY p._id"


def _is_in_order(session: StoreSession) -> bool:
    ordered = "SELECT coalesce(bool_and(_id > before), true) FROM (SELECT _id, lag(_id) OVER () AS before"
    return bool(session.one(f"{ordered} FROM store.profiles)"))
