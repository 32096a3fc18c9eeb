"""What is not there, and what is there instead."""

from __future__ import annotations

from typing import Any

from connrunner.answers.run_account import find_newest_run
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.text.words import nearest, one_line

PLACES = {
    "/": "Connections",
    "/queue": "Queue",
    "/timeline": "Timeline",
    "/notifications": "Notifications",
    "/health": "Health",
}
LONGEST = 80  # characters of an address that are said again


def show_missing(view: WorkspaceView, path: str) -> dict[str, Any]:
    """Return the values of the screen for a *path* that leads nowhere."""
    parts = path.strip("/").split("/")
    if parts[0] == "connections" and len(parts) > 1:
        if parts[1] not in view.known_names():
            return _no_connection(view, parts[1])
        if len(parts) == 4 and parts[2] == "runs":
            return _no_run(view, parts[1], parts[3])
    near = nearest(path, PLACES)
    ways = [(near, PLACES[near])] if near else []
    shown = one_line(path, LONGEST)
    return {
        "what": f"There is no page {shown}",
        "words": "",
        "ways": [*ways, *([("/", "Connections")] if near != "/" else [])],
    }


def _no_connection(view: WorkspaceView, name: str) -> dict[str, Any]:
    near = nearest(name, view.known_names())
    ways = [(f"/connections/{near}", near)] if near else []
    words = f"Did you mean {near}?" if near else "No file in connections/ and no history has that name."
    return {
        "what": f"There is no connection {one_line(name, LONGEST)}",
        "words": words,
        "ways": [*ways, ("/", "All connections")],
    }


def _no_run(view: WorkspaceView, name: str, number: str) -> dict[str, Any]:
    newest = find_newest_run(view, name)
    base = f"/connections/{name}"
    words = f"Its newest run is {newest}." if newest else "It has not run yet."
    kept = " Numbers are never used twice; old runs are removed as `keep` says." if newest else ""
    ways = [(f"{base}/runs/{newest}", f"Run {newest}")] if newest else []
    return {
        "what": f"{name} has no run {one_line(number, LONGEST)}",
        "words": words + kept,
        "ways": [*ways, (base, f"All runs of {name}")],
    }
