"""An Airbyte source, a program that knows a password and says it aloud."""

from __future__ import annotations

from pathlib import Path

from tests.servers.programs import ANSWERS, SOURCE
from tests.stands import singer

READS = """
before = state[0]["stream"]["stream_state"]["seen"] if state else 0
new = people[before:]
for number, (id, name) in enumerate(new):
    if number == len(new) // 2:
        strike()
    record({"id": id, "name": name})
saw(len(people))
status("COMPLETE")
"""


class Here(singer.Here):
    def __init__(self, folder: Path, server: None) -> None:
        super().__init__(folder, server)
        self._program("source.py", SOURCE + ANSWERS + singer.PARTNER + READS)
        self.source = {**self.source, "type": "airbyte", "command": ["./source.py"]}
