"""How a run is called where it lives: a name that Kubernetes takes for a Job, and Slurm for a job."""

from __future__ import annotations

LONGEST = 40  # characters of the connection's name: a Job's has 63, and a pod's label takes them all


def name_task(connection: str, run: int, mark: str) -> str:
    """Return the name of run *run* of *connection*, which no other run of any state folder has, by its *mark*."""
    return f"{connection[:LONGEST].replace('_', '-').rstrip('-')}-{run}-{mark[:10]}"
