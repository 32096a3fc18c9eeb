"""What is damaged in a state folder, as ticks have found it, for as long as it is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from connrunner.core import instant
from connrunner.lazy_dataclasses import dataclass
from connrunner.state import history_check, record_check
from connrunner.state.folder import StateFolder
from connrunner.state.journal_state import JournalState

TOLD = timedelta(days=7)  # for which a journal that began anew is worth a line


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownDamage:
    """Something damaged: what it is, and what ticks found."""

    name: str
    words: str


def list_damage(
    folder: StateFolder, journal_state: JournalState, names: Iterable[str], *, now: datetime
) -> Iterator[KnownDamage]:
    """Yield what is known at *now* to be damaged of the journal, the histories of *names*, and the other records.

    Costs a look or two at each; nothing is searched.
    """
    if journal_state.lost_at and abs(now - instant.parse(journal_state.lost_at)) < TOLD:
        words = f"it was gone or empty at {journal_state.lost_at}, and began anew: what it knew is lost"
        yield KnownDamage(name="journal.jsonl", words=words)
    for path in sorted(folder.root.glob("journal.damaged*")):
        yield KnownDamage(name="journal.jsonl", words=f"bytes of it that are no record are kept aside in {path}")
    for name in names:
        note = history_check.read_note(folder, name)
        about = f"the history of {name}"
        if note.lost:
            yield KnownDamage(name=about, words=f"{folder.history(name)} {note.lost}")
        elif (aside := history_check.damaged_file(folder.history(name))).exists():
            yield KnownDamage(name=about, words=f"bytes of it that are no record are kept aside in {aside}")
    for one in record_check.list_known_damage(folder):
        yield KnownDamage(name=one.name, words=one.words)
