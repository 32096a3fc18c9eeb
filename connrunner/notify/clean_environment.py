"""The environment of a process of ours that must not see our secrets."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]


def clean_environment(kept: tuple[str, ...]) -> dict[str, str]:
    """Return the variables that are *kept* of our environment, and where connrunner itself is found; nothing else."""
    found = {name: os.environ[name] for name in kept if name in os.environ}
    found["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return found
