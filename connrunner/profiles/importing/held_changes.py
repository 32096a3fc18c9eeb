"""What an import would change, held back until somebody approves it: counted, shown in part, and told apart by digests.

Two runs that would change the same have the same digest, in whatever order their source gives the rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from connrunner.core.counts import Counts
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.profiles.change_digest import digest_rows
from connrunner.profiles.importing.classify import NUMBER
from connrunner.profiles.importing.differences import MOST, list_value_changes, select_differences
from connrunner.profiles.importing.file_tasks import FileTask, ImportContext
from connrunner.profiles.importing.row_keys import describe_key
from connrunner.profiles.importing.stage import Stage
from connrunner.profiles.mapping import ImportPlan
from connrunner.profiles.results import Difference, HeldChange
from connrunner.profiles.session import StoreSession

PROPERTIES = 20  # that are named


@dataclass(kw_only=True, slots=True)
class ChangeSurvey:
    """What the rows of an import would change, file by file, before they are merged."""

    session: StoreSession
    plan: ImportPlan
    properties: dict[str, int] = field(default_factory=dict)
    rows: list[Difference] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)

    def add(self, stage: Stage) -> None:
        """Look at the classified rows of *stage*."""
        changes = list_value_changes(self.session, self.plan)
        source = f"""verdicts v JOIN {stage.table} s ON s.rowid = v.rn LEFT JOIN store.profiles p ON p.rowid = v.pid
            WHERE v.verdict IN ({NUMBER["created"]}, {NUMBER["updated"]})"""
        counts = ", ".join(f"count(*) FILTER ({change.differs})" for change in changes)
        found: Sequence[int] = self.session.execute(f"SELECT {counts} FROM {source}").fetchall()[0]
        for change, count in zip(changes, found, strict=True):
            if count:
                self.properties[change.name] = self.properties.get(change.name, 0) + count
        self.rows += select_differences(self.session, stage, self.plan, MOST - len(self.rows), masked=True)
        all_of_them = ", ".join(change.as_struct(place, masked=False) for place, change in enumerate(changes))
        key = describe_key(self.plan, masked=False)
        row = f"to_json([{key}, to_json([{all_of_them}])::VARCHAR])::VARCHAR"
        self.digests.append(digest_rows(self.session, row, source))

    def finish(
        self, context: ImportContext, tasks: Sequence[FileTask], total: Counts, reasons: Sequence[str]
    ) -> HeldChange:
        """Return what the run would change, and why it is held."""
        # Rows that a partner answered have no bytes of their own that could be compared.
        whole = [file for task in tasks for file in task.files if not file.once]
        files = [(file.name, context.digests.wait_for(file)) for file in whole]
        ordered = sorted(self.properties.items(), key=lambda one: (-one[1], one[0]))
        columns = self.plan.columns_seen
        return HeldChange(
            reasons=tuple(reasons),
            counts=total,
            work=context.job.hold.work if context.job.hold else "",
            source=_hash([sorted(files), *sorted(columns.missing)]),
            changes=_hash([sorted(self.digests), total.as_dict()]),
            properties=dict(ordered[:PROPERTIES]),
            more_properties=max(0, len(ordered) - PROPERTIES),
            columns=tuple(columns.names),
            rows=tuple(self.rows),
        )


def _hash(data: object) -> str:
    return hashlib.sha256(json.dumps(data).encode("utf-8", "backslashreplace")).hexdigest()
