"""The events of a YAML parser, and where the parts of a document stand."""

from __future__ import annotations

from typing import Any, TypeAlias

Event: TypeAlias = Any  # of yaml.events; its published types know no marks
# Where a part stands: the event that began it, with the places of its own parts for a collection.
Places: TypeAlias = "Event | tuple[Event, dict[str, tuple[Event, Places]]] | tuple[Event, list[Places]]"
