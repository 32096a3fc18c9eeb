"""A kind of import contract: the only packages that some modules may import. See `[tool.importlinter]`."""

from __future__ import annotations

from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class OnlyContract(Contract):
    """
    The modules *source_modules* and all below them import nothing from outside of connrunner but *allowed_modules*.

    `forbidden` names what must not be imported, so whatever nobody thought of passes; this names what may be. The
    modules *except_modules* are left out.
    """

    type_name = "only"

    # The base class puts the values of pyproject.toml in the place of the fields.
    source_modules: Any = fields.ListField(subfield=fields.StringField())
    allowed_modules: Any = fields.ListField(subfield=fields.StringField())
    except_modules: Any = fields.ListField(subfield=fields.StringField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Return the imports that are not allowed, with their lines."""
        allowed, left_out = set(self.allowed_modules), set(self.except_modules or ())
        found = []
        for root in self.source_modules:
            for module in sorted({root, *graph.find_descendants(root)} - left_out):
                for imported in sorted(graph.find_modules_directly_imported_by(module)):
                    package = imported.partition(".")[0]
                    if package != "connrunner" and package not in allowed:
                        lines = [
                            details["line_number"]
                            for details in graph.get_import_details(importer=module, imported=imported)
                        ]
                        found.append(f"{module} imports {imported} (line {', '.join(map(str, lines))})")
        return ContractCheck(kept=not found, metadata={"found": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print the imports that are not allowed."""
        for line in check.metadata["found"]:
            output.print_error(line)
        output.new_line()
