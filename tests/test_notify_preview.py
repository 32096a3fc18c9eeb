"""`connrunner notify preview`: real runs, made-up ones, and mistakes."""

from __future__ import annotations

import json
import webbrowser
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connrunner.answers import mail_preview
from connrunner.core import instant
from connrunner.core.counts import Counts
from connrunner.core.model import Outcome, Run
from connrunner.notify import failure_streak
from connrunner.notify.render import ALL, RenderedMessage, choose_template
from connrunner.notify.sandbox import answer_jobs
from connrunner.state import run_files
from tests.conftest import Place
from tests.test_cli import ended, typed

AT = instant.parse("2026-11-20T06:00:00Z")
S, F, P, X = Outcome.SUCCEEDED, Outcome.FAILED, Outcome.PARTIAL, Outcome.STOPPED


def history(place: Place, *outcomes: Outcome) -> list[Run]:
    """Write a history of one run a day; return it newest first."""
    runs = []
    for number, outcome in enumerate(outcomes, 1):
        at = AT + timedelta(days=number)
        facts = {"outcome": outcome, "due_at": at, "queued_at": at, "started_at": at, "ended_at": at}
        more = {"seconds": 60 + number, "counts": Counts() if outcome is F else Counts(read=9, checked=9, updated=9)}
        runs.append(ended(place, "crm", number, **facts, **more))
        run_files.append_history(place.state, runs[-1])
    return runs[::-1]


@pytest.fixture
def crm(place: Place) -> Place:
    place.write("notifications/data-team.yaml", "email: [a@example.com]\n")
    place.command("crm", "print(1)", more="title: CRM contacts\n")
    return place


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Render without a process of its own."""

    def render(workspace: Path, contexts: list[dict[str, Any]], *, deadline: float) -> list[RenderedMessage]:
        jobs = [{"template": choose_template(workspace, contexts[0], part), "context": 0} for part in ALL]
        return [RenderedMessage(*(answer["text"] for answer in answer_jobs(workspace / "templates", jobs, contexts)))]

    monkeypatch.setattr(mail_preview, "render", render)


# For an outcome sequence, newest last: what the options give.
STREAKS = [
    # outcomes      event        failures, first run, between
    ([S, S, F], "failing", (1, 3, {"failed": 1})),
    ([S, F, X, P, F], "failing", (3, 2, {"failed": 2, "stopped": 1, "partial": 1})),
    ([S, P, F, X, F], "reminder", (2, 3, {"failed": 2, "stopped": 1})),  # since when it has been as bad as now
    ([S, F, X, P, S], "recovered", (2, 2, {"failed": 1, "stopped": 1, "partial": 1})),
    ([S, S], "recovered", None),
    ([S, X, S], "recovered", None),
    ([S, F], "failed", None),
]


@pytest.mark.parametrize(("outcomes", "event", "expected"), STREAKS)
def test_a_row_of_failures_is_told_from_history(
    place: Place, outcomes: list[Outcome], event: str, expected: tuple[int, int, dict[str, int]] | None
) -> None:
    runs = history(place, *outcomes)
    facts = failure_streak.describe_streak(runs, event)
    if expected is None:
        assert facts == {}
        return
    assert (facts["failures"], facts["first_run"], facts["between"]) == expected
    assert facts["since"] == instant.text(AT + timedelta(days=expected[1]))


PREVIEWS = [
    # arguments                     subject, and what the text says
    ([], "CRM contacts: run 4 succeeded", ["run 4", "9 read", "connrunner log crm 4"]),
    (["2"], "CRM contacts: run 2 failed", ["run 2", "connrunner log crm 2"]),
    (["--event", "failed"], "CRM contacts: run 3 failed", []),
    (["--event", "failing"], "CRM contacts: failing, 2 times in a row", ["beginning with run 2"]),
    (["--event", "recovered"], "CRM contacts: recovered with run 4 after 2 failures", ["It had failed 2 times since"]),
    (["4", "--event", "recovered"], "CRM contacts: recovered with run 4 after 2 failures", []),
]


@pytest.mark.parametrize(("arguments", "subject", "words"), PREVIEWS)
@pytest.mark.usefixtures("in_process")
def test_a_real_run_is_shown(crm: Place, arguments: list[str], subject: str, words: list[str]) -> None:
    history(crm, S, F, F, S)
    code, out, err = typed(crm, "notify", "preview", "crm", *arguments)
    assert (code, err) == (0, "")
    assert out.startswith(f"Subject: {subject}\n\nCRM contacts: ")
    assert all(word in out for word in words), out


MADE_UP = [
    # event         subject
    ("partial", "CRM contacts: run 42 partial, 14 rows refused"),
    ("late", "CRM contacts: late by 45 min 00 s, it waits in its queue"),
    ("folded", "workspace: 5 notices in one"),
    ("broken", "workspace: 2 files cannot be used: crm"),
    ("fixed", "workspace: recovered, 1 file can be used again: crm"),
    ("outage", "workspace: no tick for 3 h 30 min, 15 slots passed: 2 ran late, 13 missed"),
]


@pytest.mark.parametrize(("event", "subject"), MADE_UP)
@pytest.mark.usefixtures("in_process")
def test_without_a_run_that_fits_it_is_made_up(crm: Place, event: str, subject: str) -> None:
    history(crm, S)
    code, out, err = typed(crm, "notify", "preview", "crm", "--event", event)
    assert code == 0
    assert out.startswith(f"Subject: {subject}\n")
    assert err.startswith("what this mail tells is made up")
    page = crm.state.root / "preview" / f"crm-{event}.html"
    assert f"HTML: {page}\n" in out
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert page.stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("in_process")
def test_what_channels_get_is_shown_for_a_target_that_has_some(crm: Place) -> None:
    history(crm, F)
    crm.write("notifications/on-call.yaml", "apprise: [env:SLACK_URL]\n")
    _, out, _ = typed(crm, "notify", "preview", "crm", "--target", "on-call")
    assert "In channels: CRM contacts: run 1 failed\n\nThe run failed.\nNext run: none planned\n" in out
    _, out, _ = typed(crm, "notify", "preview", "crm", "--target", "data-team")
    assert "In channels" not in out


@pytest.mark.usefixtures("in_process")
def test_a_digest_tells_what_ran_within_a_day(crm: Place) -> None:
    history(crm, S, F, F, S)
    crm.write("notifications/data-team.yaml", "email: [a@example.com]\nlanguage: nl\ntimezone: Asia/Tokyo\n")
    arguments = ["preview", "crm", "--event", "digest", "--target", "data-team"]
    code, out, err = typed(crm, "notify", *arguments, "--now", "2026-11-24T06:00:00Z")
    assert (code, err) == (0, "")
    assert out.startswith("Subject: workspace: 1 run, none failed\n")
    assert "to   di 24 nov 2026 15:00:00 +09:00" in out
    assert "All is well with\n  CRM contacts (crm): 1 run" in out
    assert "next: " in out, out


@pytest.mark.slow
def test_the_templates_of_a_target_are_used_and_the_page_is_opened(crm: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    crm.write("templates/targets/data-team/run.subject.j2", "for {{ target }}")
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    arguments = ["--target", "data-team", "--output", "out", "--open", "--format", "json"]
    code, out, _ = typed(crm, "notify", "preview", "crm", *arguments)
    said = json.loads(out)
    assert (code, said["subject"], said["event"], said["made_up"]) == (0, "for data-team", "failed", True)
    assert opened == [(crm.folder / "out" / "crm-failed.html").as_uri()]
    assert (crm.folder / "out" / "crm-failed.txt").read_text().startswith("for data-team\n\nCRM contacts: run 42")


@pytest.mark.slow
def test_a_broken_template_shows_the_mail_that_people_would_get(crm: Place) -> None:
    crm.write("templates/connections/crm/failed.txt.j2", "\n{{ nope }}")
    code, out, err = typed(crm, "notify", "preview", "crm")
    assert code == 1
    assert "templates/connections/crm/failed.txt.j2, line 2: 'nope' is undefined" in out
    assert "no HTML: a template is broken" in err


MISTAKES = [
    (["mcr"], "there is no connection 'mcr'; did you mean 'crm'?"),
    (["crm", "9"], "crm has no ended run 9; see `connrunner runs crm`"),
    (["crm", "1", "--event", "failed"], "run 1 succeeded, which is no 'failed'; leave out the number"),
    (["crm", "1", "--event", "digest"], "a mail `digest` is about no single run; leave out the number"),
    (["crm", "--target", "data-taem"], "there is no target 'data-taem'; there are data-team in notifications/"),
    (["crm", "--event", "faild"], "'faild' is not one of"),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES)
def test_a_mistake_says_what_to_do(crm: Place, arguments: list[str], words: str) -> None:
    history(crm, S)
    code, _, err = typed(crm, "notify", "preview", *arguments)
    assert code == 2
    assert words in err


@pytest.mark.usefixtures("in_process")
def test_a_folder_that_cannot_be_written_is_named(crm: Place) -> None:
    crm.write("taken", "")
    code, _, err = typed(crm, "notify", "preview", "crm", "--output", "taken/below")
    assert code == 2
    assert "taken" in err
    assert "name another folder with --output" in err
