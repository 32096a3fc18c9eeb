"""Which notices do files owe that cannot be used, and those that can be used again or are gone?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from connrunner.core.alerts.notice import Event, Notice
from connrunner.core.alerts.recipients import RecipientChoice, choose_recipient, group_notices, iter_recipients
from connrunner.core.model import Notify, mailbox
from connrunner.lazy_dataclasses import dataclass

FILES = 100  # that a notice names; the journal keeps it
PROBLEMS = 10  # of one file
LONGEST = 500  # characters of one problem


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokenFile:
    """A file that cannot be used: a short word for the content of its problems, and what they are."""

    content: str
    problems: tuple[str, ...]
    is_of_state: bool = False  # it is no file of the workspace but a history: what is due waits for it
    is_refused: bool = False  # ticks refuse the whole workspace for it
    never_worked: bool = False  # no tick has seen a version of it that can be used, so nothing is due by it


@dataclass(frozen=True, kw_only=True, slots=True)
class FileNotices:
    """What is owed about files, and which contents of problems people know of then, by the names of the files."""

    notices: tuple[Notice, ...]
    known: Mapping[str, str]


def decide_file_notices(
    rules: Iterable[Notify],
    broken: Mapping[str, BrokenFile],
    known: Mapping[str, str],
    *,
    there: Collection[str],
    token: str,
) -> FileNotices:
    """
    Return what the people of *rules*, the workspace's own, are told of the files that are *broken* now.

    *known* is what they know of: each content of problems is told once, and once that a file is not broken any more: it
    can be used again, or it is not among the files that are *there*. All files of one tick are one notice. A rule that
    tells of late slots only tells nothing of this.
    """
    people = tuple(rule for rule in rules if rule.when != "late")
    new = {name: one for name, one in sorted(broken.items()) if known.get(name) != one.content}
    fixed = sorted((name not in there, name) for name in known if name not in broken)
    told = (
        *_notices("broken", people, _describe(new), token),
        *_notices("fixed", people, [{"name": name, "gone": gone} for gone, name in fixed], token),
    )
    still = {name: content for name, content in known.items() if name in broken}
    added = {name: one.content for name, one in new.items()} if any(one.event == "broken" for one in told) else {}
    return FileNotices(notices=told, known={**still, **added})


def _notices(event: Event, rules: Iterable[Notify], files: list[dict[str, Any]], token: str) -> tuple[Notice, ...]:
    if not files:
        return ()
    gone = sum(one.get("gone", False) for one in files)
    facts = {"files": files[:FILES], "count": len(files), **({"gone": gone} if event == "fixed" else {})}
    choices: dict[str, RecipientChoice] = {}
    for _, target, recipient in iter_recipients(rules):
        choices.setdefault(mailbox(recipient), choose_recipient(event, recipient, target, facts))
    return group_notices(choices.values(), connection="", run=0, token=token)


def _describe(files: Mapping[str, BrokenFile]) -> list[dict[str, Any]]:
    """Return the problems of *files*, each content once: what breaks profile.yaml breaks all that need it."""
    first: dict[str, str] = {}
    described = []
    for name, one in files.items():
        same = first.setdefault(one.content, name)
        shown = [] if same != name else [problem[:LONGEST] for problem in one.problems[:PROBLEMS]]
        more = len(one.problems) - len(shown) if same == name else 0
        about = {"name": name, "problems": shown, "more": more, "same_as": same if same != name else ""}
        flags = {"of_state": one.is_of_state, "refused": one.is_refused, "never_worked": one.never_worked}
        described.append({**about, **{flag: True for flag, is_set in flags.items() if is_set}})
    return described
