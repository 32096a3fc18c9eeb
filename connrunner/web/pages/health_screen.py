"""Health: what `connrunner doctor` says, as far as it only looks; nothing is sent and no other side is asked."""

from __future__ import annotations

from typing import Any

from connrunner.answers.checkup import look_around
from connrunner.answers.status import Health
from connrunner.answers.workspace_view import WorkspaceView

STYLES = {"ok": ("ok", "ok"), "warning": ("late", "late"), "failure": ("failed", "failed")}


def show_health(view: WorkspaceView, health: Health) -> dict[str, Any]:
    """Return the values of the screen."""
    checks = list(look_around(view))
    bad = [check for check in checks if check.level != "ok"]
    return {
        "checks": [*bad, *(check for check in checks if check.level == "ok")],
        "styles": STYLES,
        "bad": len(bad),
        "complaints": health.complaints,
    }
