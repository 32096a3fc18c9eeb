"""Which rows of an export can be sent: the others are refused, and cost no upload."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from connrunner.connectors import Refusal, RunContext
from connrunner.connectors.salesforce.export_plan import ExportPlan
from connrunner.connectors.salesforce.upload_csv import (
    NumberedRow,
    RowFile,
    find_doubles,
    find_row_flaw,
    have_one_case,
    make_checks,
)
from connrunner.core.model import PropertyType


class RowSieve:
    """Tells the rows of a file that can be sent from those that cannot."""

    def __init__(self, plan: ExportPlan, context: RunContext, rows: RowFile) -> None:
        self._plan, self._context, self._rows = plan, context, rows

    def deletes(self, row: NumberedRow) -> bool:
        """Return whether the record of *row* is to be deleted."""
        return row.is_deleted or self._plan.operation == "delete"

    def sift(self, refuse: Callable[[Refusal], None]) -> Iterator[NumberedRow]:
        """Yield the rows that can be sent; *refuse* gets the others."""
        checks = make_checks(self._rows.columns, self._plan.fields, key=self._plan.key)
        doubles = self._find_doubles()
        for row in self._rows.rows():
            flaw = None if self.deletes(row) else find_row_flaw(row.cells, checks)
            if flaw is None and row.number in doubles:
                flaw = ("duplicate-key", doubles[row.number])
            if flaw is None:
                yield row
            else:
                refuse(Refusal(row=row.number, code=flaw[0], message=flaw[1]))

    def _find_doubles(self) -> dict[int, str]:
        """Return the rows whose keys are one to Salesforce. Identifiers differ, but maybe in capitals only."""
        plan = self._plan
        if not plan.key or plan.operation == "insert" or plan.key == "Id":
            return {}
        key_at = self._rows.columns.index(plan.key)
        owner = self._context.columns[plan.key]
        if owner.identifier and (
            owner.type is not PropertyType.TEXT
            or plan.fields[plan.key].case_sensitive
            or have_one_case(self._rows, key_at)
        ):
            return {}
        return find_doubles(self._rows, key_at)
