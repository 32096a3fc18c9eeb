"""Templates: ours, overridden ones, broken ones, hostile ones."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from connrunner.core.counts import Counts
from connrunner.core.model import Outcome, Run
from connrunner.notify.facts import Background, build_context
from connrunner.notify.render import (
    EVENTS,
    KINDS,
    PARTS,
    RenderedMessage,
    RenderProblem,
    ask_sandbox,
    choose_template,
    fallback,
    render,
)
from connrunner.notify.samples import sample, sample_facts
from connrunner.notify.sandbox import answer_jobs
from tests.made import changed_run, ended_run

TEMPLATES = SUBJECT, TEXT, HTML = tuple(f"run.{part}" for part in PARTS)
START = datetime(2026, 11, 23, 0, 30, tzinfo=UTC)
RUN = ended_run(
    connection="crm",
    run=12,
    outcome=Outcome.PARTIAL,
    trigger="schedule",
    due_at=START,
    queued_at=START,
    started_at=START + timedelta(seconds=2),
    ended_at=START + timedelta(seconds=75),
    seconds=73,
    counts=Counts(read=12_000, checked=12_000, created=500, updated=1_200, unchanged=10_286, invalid=14),
    message="14 of 12,000 rows were refused",
    commit="3f2a9c1d",
    kind="import",
    missed=2,
    merged=1,
)
HOSTILE = """<script>alert(1)</script>"&' {{ 7*7 }}{% raw %}"""
REJECT = {"line": 2, "field": "age", "code": "wrong-type", "message": "'abc' is not an integer", "value": "abc"}


def seen(tmp_path: Path, run: Run = RUN, *, rejects: int = 14, **sample_facts: Any) -> dict[str, Any]:
    file = tmp_path / "rejects.jsonl"
    file.write_text("".join(json.dumps(REJECT | {"line": line}) + "\n" for line in range(2, rejects + 2)))
    sample_facts = {
        "title": "CRM contacts",
        "timezone": "Europe/Amsterdam",
        "workspace": "crm-workspace",
    } | sample_facts
    told = {key: sample_facts.pop(key) for key in ("event", "facts") if key in sample_facts}
    return build_context(run, Background(rejects=file, **sample_facts), **told)


def here(folder: Path, sees: dict[str, Any], templates: tuple[str, ...] = TEMPLATES) -> list[dict[str, Any]]:
    """What the sandbox answers, without its process."""
    return list(answer_jobs(folder / "templates", [{"template": name, "context": 0} for name in templates], [sees]))


def override(folder: Path, name: str, text: str) -> None:
    (folder / "templates").mkdir(exist_ok=True)
    (folder / "templates" / name).write_text(text)


# --- ours --------------------------------------------------------------------------------------------------------


def test_the_text_part_tells_everything(tmp_path: Path) -> None:
    sees = seen(tmp_path, description="Nightly\nlist.", owner="data-team", next_run=START + timedelta(days=4))
    subject, text, _ = (answer["text"] for answer in here(tmp_path, sees))
    assert subject == "CRM contacts: run 12 partial, 14 rows refused"
    assert (
        text
        == """\
CRM contacts: run 12 partial

14 of 12,000 rows were refused

Connection  crm (import)
About       Nightly list.
Owner       data-team
Outcome     partial
Due         Mon 2026-11-23 01:30:00 +01:00
Started     Mon 2026-11-23 01:30:02 +01:00
Ended       Mon 2026-11-23 01:31:15 +01:00
Run time    1 min 13 s
Missed      2 later slots
Merged      1 slot that became due meanwhile
Next run    Fri 2026-11-27 01:30:00 +01:00
Commit      3f2a9c1d

Rows
  read                      12,000
  checked                   12,000
  created                      500
  updated                    1,200
  unchanged                 10,286
  invalid                       14

Not accepted, the first 10 of 14
"""
        + "".join(f"  line {line}, age: 'abc' is not an integer [abc]\n" for line in range(2, 12))
        + """
By reason
  wrong-type                    14

See more, or run it again, in the workspace crm-workspace
  connrunner log crm 12
  connrunner rejects crm 12
  connrunner run crm
"""
    )


def test_the_least_of_a_run_is_told_without_empty_headings(tmp_path: Path) -> None:
    run = changed_run(
        RUN,
        outcome=Outcome.SKIPPED,
        started_at=None,
        seconds=0,
        counts=Counts(),
        message="",
        code="config-error",
        commit=None,
        kind="",
        missed=0,
        merged=0,
        trigger="manual",
        asked_by="ann",
    )
    subject, text, _ = (answer["text"] for answer in here(tmp_path, seen(tmp_path, run, rejects=0)))
    assert subject == "CRM contacts: run 12 skipped (config-error)"
    assert (
        text
        == """\
CRM contacts: run 12 skipped

The run was due, but could not start.

Connection  crm
Outcome     skipped (config-error)
Asked by    ann
Due         Mon 2026-11-23 01:30:00 +01:00
Started     never
Ended       Mon 2026-11-23 01:31:15 +01:00
Run time    0.0 s
Next run    none planned

See more, or run it again, in the workspace crm-workspace
  connrunner log crm 12
  connrunner run crm
"""
    )


SUBJECTS = [
    # outcome       refused  code          subject
    ("succeeded", 0, "", "CRM contacts: run 12 succeeded"),
    ("partial", 1, "", "CRM contacts: run 12 partial, 1 row refused"),
    ("partial", 1200, "", "CRM contacts: run 12 partial, 1,200 rows refused"),
    ("failed", 0, "timeout", "CRM contacts: run 12 failed (timeout)"),
    ("interrupted", 0, "", "CRM contacts: run 12 interrupted"),
]


@pytest.mark.parametrize(("outcome", "refused", "code", "subject"), SUBJECTS)
def test_the_subject_says_which_run_and_how_it_ended(
    tmp_path: Path, outcome: str, refused: int, code: str, subject: str
) -> None:
    run = changed_run(
        RUN, outcome=Outcome(outcome), counts=Counts(read=refused, checked=refused, invalid=refused), code=code
    )
    assert here(tmp_path, seen(tmp_path, run), (SUBJECT,)) == [{"text": subject}]


class Page(HTMLParser):
    """Every text of a page, and a complaint about each tag that is left open or closed twice."""

    VOID = ("meta", "br")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("rejects", [0, 1, 14])
@pytest.mark.thorough
def test_the_html_part_is_well_formed_and_loads_nothing(tmp_path: Path, outcome: Outcome, rejects: int) -> None:
    sees = seen(tmp_path, changed_run(RUN, outcome=outcome), rejects=rejects, next_run=START)
    (answer,) = here(tmp_path, sees, (HTML,))
    page = Page(answer["text"])
    assert answer["text"].startswith("<!DOCTYPE html>")
    assert not {"img", "script", "link", "iframe", "form", "a"} & set(page.tags)
    assert not re.search(r"https?:|url\(|@import", answer["text"])
    assert {"CRM contacts", outcome.value, "12,000", "1 min 13 s", "3f2a9c1d"} <= set(page.texts)
    assert ("'abc' is not an integer" in page.texts) is (rejects > 0)


def test_what_the_text_part_says_stands_in_the_html_part_too(tmp_path: Path) -> None:
    sees = seen(tmp_path, description="Nightly list.", owner="data-team", next_run=START + timedelta(days=4))
    _, text, html = (answer["text"] for answer in here(tmp_path, sees))
    words = r"[\w.,:+-]*\w"
    assert set(re.findall(words, text)) - {"Outcome", "in"} <= set(re.findall(words, " ".join(Page(html).texts)))


def test_markup_in_names_messages_and_values_is_text(tmp_path: Path) -> None:
    (tmp_path / "rejects.jsonl").write_text(
        json.dumps(dict.fromkeys(("file", "line", "field", "code", "message", "value"), HOSTILE)) + "\n"
    )
    run = changed_run(
        RUN, message=HOSTILE, code=HOSTILE, commit=HOSTILE, trigger="manual", asked_by=HOSTILE, kind=HOSTILE
    )
    sees = build_context(
        changed_run(run, connection=HOSTILE),
        Background(
            title=HOSTILE,
            description=HOSTILE,
            owner=HOSTILE,
            rejects=tmp_path / "rejects.jsonl",
            workspace=HOSTILE,
        ),
    )
    subject, text, html = (answer["text"] for answer in here(tmp_path, sees))
    page = Page(html)
    assert "script" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "<script" not in html
    assert HOSTILE in page.texts
    # The other two parts are not HTML: there it stands as it is, and is never evaluated.
    assert HOSTILE in text
    assert HOSTILE in subject
    assert "49" not in html + text + subject


# --- overridden --------------------------------------------------------------------------------------------------


def test_a_file_of_the_same_name_replaces_ours(tmp_path: Path) -> None:
    override(tmp_path, TEXT, "{{ connection.title }}: {{ counts.created }} new, {{ run.outcome }}\n")
    subject, text, html = (answer["text"] for answer in here(tmp_path, seen(tmp_path)))
    assert text == "CRM contacts: 500 new, partial"
    assert subject == "CRM contacts: run 12 partial, 14 rows refused"
    assert html.startswith("<!DOCTYPE html>")


def test_an_override_may_extend_ours_and_include_its_own(tmp_path: Path) -> None:
    override(
        tmp_path,
        HTML,
        """{% extends "connrunner/run.html.j2" %}
        {% block more %}{{ super() }}<p style="{{ heading }}">{% include "foot.j2" %}{{ fact("a", "<b>") }}</p>{% endblock %}""",
    )
    override(tmp_path, "foot.j2", "Call <i>{{ connection.title }}</i>")
    (answer,) = here(tmp_path, seen(tmp_path, title="<us>"), (HTML,))
    assert "Call <i>&lt;us&gt;</i>" in answer["text"]
    assert "&lt;b&gt;" in answer["text"]
    assert "connrunner log crm 12" in answer["text"]


def test_html_is_escaped_and_text_is_not(tmp_path: Path) -> None:
    for name in TEMPLATES:
        override(tmp_path, name, "{{ connection.title }}")
    assert [answer["text"] for answer in here(tmp_path, seen(tmp_path, title="<&>"))] == ["<&>", "<&>", "&lt;&amp;&gt;"]


# Of the files there are: which one is taken for the text of `failing` about crm, to the target data-team.
CHOICES = [
    ([], "run.txt.j2"),
    (["failed.txt.j2", "late.txt.j2", "targets/other/run.txt.j2", "connections/other/run.txt.j2"], "run.txt.j2"),
    (["run.txt.j2", "failing.txt.j2"], "failing.txt.j2"),
    (["failing.txt.j2", "connections/crm/run.txt.j2"], "connections/crm/run.txt.j2"),
    (["connections/crm/run.txt.j2", "connections/crm/failing.txt.j2"], "connections/crm/failing.txt.j2"),
    (["connections/crm/failing.txt.j2", "targets/data-team/run.txt.j2"], "targets/data-team/run.txt.j2"),
    (["targets/data-team/run.txt.j2", "targets/data-team/failing.txt.j2"], "targets/data-team/failing.txt.j2"),
]


@pytest.mark.parametrize(("files", "chosen"), CHOICES)
def test_the_most_special_template_is_taken(tmp_path: Path, files: list[str], chosen: str) -> None:
    for name in files:
        path = tmp_path / "templates" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert choose_template(tmp_path, sample("failing", target="data-team", connection="crm"), "txt.j2") == chosen
    assert choose_template(tmp_path, sample("digest", target="data-team"), "txt.j2") == "digest.txt.j2"


def test_the_layout_of_every_kind_can_be_replaced_at_once(tmp_path: Path) -> None:
    override(
        tmp_path,
        "layout.html.j2",
        '{% extends "connrunner/layout.html.j2" %}{% block footer %}{{ head("<Us>") }}{% endblock %}',
    )
    override(
        tmp_path,
        HTML,
        '{% extends "connrunner/run.html.j2" %}{% block more %}{{ super() }}{{ typed(["x"]) }}{% endblock %}',
    )
    for kind in KINDS:
        job = {"template": f"{kind}.html.j2", "context": 0}
        (answer,) = answer_jobs(tmp_path / "templates", [job], [sample("failing" if kind == "run" else kind)])
        page = Page(answer["text"])
        assert "<Us>" in page.texts
        assert "Sent by connrunner" not in answer["text"]


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("full", [True, False])
def test_the_mail_about_each_event_is_well_formed_and_loads_nothing(tmp_path: Path, event: str, full: bool) -> None:
    sees = sample(event, full=full)
    jobs = [{"template": choose_template(tmp_path, sees, part), "context": 0} for part in PARTS]
    subject, text, html = (answer["text"] for answer in answer_jobs(tmp_path / "templates", jobs, [sees]))
    assert len(subject.splitlines()) == 1
    page = Page(html)
    assert not {"img", "script", "link", "iframe", "form", "a"} & set(page.tags)
    assert not re.search(r"https?:|url\(|@import", html)
    assert len(html) < 40_000  # Gmail cuts a mail at 102 kB
    assert not [line for line in text.splitlines() if line != line.rstrip()]
    assert "None" not in subject + text + html


LONG = [("digest", "connections"), ("folded", "notices"), ("outage", "missed")]


@pytest.mark.parametrize(("event", "name"), LONG)
def test_a_mail_about_a_thousand_connections_is_sent_whole(tmp_path: Path, event: str, name: str) -> None:
    told = sample_facts(event)
    sees = build_context(None, Background(workspace="crm"), event=event, facts={**told, name: told[name][:1] * 1000})
    _, text, html = (
        answer["text"]
        for answer in answer_jobs(
            tmp_path, [{"template": choose_template(tmp_path, sees, part), "context": 0} for part in PARTS], [sees]
        )
    )
    assert len(html) < 100_000
    assert re.search(r"and 9[07]0 more", text)
    assert re.search(r"and 9[07]0 more", html)


QUIET = {
    "runs": 0,
    "partial": 0,
    "failed": 0,
    "late": 0,
    "missed": 0,
    "counts": {},
    "trend": [],
    "next_due": None,
    "last_outcome": None,
}
COUNTED = [
    # runs of two connections, missed slots      what the digest says in its first line
    (0, 0, "crm: 0 runs, 0 failed, 0 partial, 0 late, 0 slots missed"),
    (1, 1, "crm: 1 run, 0 failed, 0 partial, 0 late, 1 slot missed"),
    (2, 2, "crm: 2 runs, 0 failed, 0 partial, 0 late, 2 slots missed"),
]


@pytest.mark.parametrize(("runs", "missed", "first"), COUNTED)
def test_a_digest_counts_in_words_that_agree_and_names_what_did_not_run_in_a_line(
    tmp_path: Path, runs: int, missed: int, first: str
) -> None:
    trend = [{"run": number, "outcome": "succeeded", "seconds": 3, "read": 0} for number in range(1, runs + 1)]
    busy = {**QUIET, "name": "jobs", "title": "Jobs", "runs": runs, "missed": missed, "trend": trend}
    idle = [{**QUIET, "name": name, "title": name.title()} for name in ("alpha", "beta")]
    facts = {**sample_facts("digest"), "connections": [busy, *idle], "broken": ["shop", "crm"] if runs else []}
    sees = build_context(None, Background(workspace="crm"), event="digest", facts=facts)
    text, html = (answer["text"] for answer in here(tmp_path, sees, ("digest.txt.j2", "digest.html.j2")))
    assert text.splitlines()[0] == first
    assert "read" not in text, "a program has no rows"
    assert "\n\nWithout a run\n" in text
    assert text.count("\n  Alpha; next: none planned\n") == 1
    assert f"{runs} run{'' if runs == 1 else 's'}, 0 failed" in html
    assert ("\n\nCannot be used, see `connrunner validate`\n  shop, crm\n" in text) == bool(runs)
    assert ("Cannot be used: shop, crm" in html) == bool(runs)


def test_a_digest_counts_partial_runs_beside_the_failed_ones(tmp_path: Path) -> None:
    busy = {**QUIET, "name": "jobs", "title": "Jobs", "runs": 9, "partial": 3, "failed": 2}
    older = {key: value for key, value in {**busy, "name": "old"}.items() if key != "partial"}
    sees = build_context(
        None,
        Background(workspace="crm"),
        event="digest",
        facts={**sample_facts("digest"), "connections": [busy, older]},
    )
    names = ("digest.subject.j2", "digest.txt.j2", "digest.html.j2", "digest.chat.j2")
    subject, text, html, chat = (answer["text"] for answer in here(tmp_path, sees, names))
    assert subject.strip() == "crm: 18 runs, 4 failed, 3 partial"
    assert text.startswith("crm: 18 runs, 4 failed, 3 partial, 0 late, 0 slots missed\n")
    assert all("9 runs, 2 failed, 3 partial" in " ".join(said.split()) for said in (text, chat))
    assert "3 partial</span>" in html


USES = [
    # how the workspace has it     what runs it again, what is said of it, what the mail proposes beside the log
    ("on",     "connrunner run crm",         "",                        "  connrunner run crm\n"),
    ("off",    "connrunner run crm --force", "switched off",            "  connrunner run crm --force\n"),
    ("broken", "",                           "its file cannot be used", "  connrunner validate\n"),
    ("gone",   "",                           "gone from the workspace", ""),
]  # fmt: skip


@pytest.mark.parametrize(("use", "command", "said", "proposed"), USES)
def test_no_mail_proposes_a_run_that_would_be_refused(
    tmp_path: Path, use: str, command: str, said: str, proposed: str
) -> None:
    seen = build_context(RUN, Background(workspace="crm", use=use))  # type: ignore[arg-type]
    assert (seen["commands"]["run"], seen["connection"]["use_meaning"]) == (command, said)
    text, html = (answer["text"] for answer in here(tmp_path, seen, ("run.txt.j2", "run.html.j2")))
    assert text.endswith(f"in the workspace crm\n  connrunner log crm 12\n{proposed}")
    assert all((", or run it again" in said_there) == bool(command) for said_there in (text, html))
    assert f"(import){', ' + said if said else ''}\n" in text


# What is wrong with a template, and what the mail says about it.
BROKEN = [
    ("\n{{ connection.titel }}", 2, "'dict object' has no attribute 'titel'"),
    ("{{ conn }}", 1, "'conn' is undefined"),
    ("\n\n{% if %}", 3, "Expected an expression, got 'end of statement block'"),
    ("{% for x in counts %}", 1, "Unexpected end of template. Jinja was looking for the following tags"),
    ("{{ 1 / 0 }}", 1, "division by zero"),
    ("{{ connection.title | nofilter }}", 1, "No filter named 'nofilter'"),
    ("{{ connection.title | safe }}", 1, "No filter named 'safe'"),
    ('\n{% include "none.j2" %}', 2, "there is no template 'none.j2'"),
    ('{% include "../connrunner.yaml" %}', 1, "there is no template '../connrunner.yaml'"),
    ('{% include "/etc/passwd" %}', 1, "there is no template '/etc/passwd'"),
    ('{% include "connrunner/../sandbox.py" %}', 1, "there is no template"),
    ("x" * 300_000, 1, "the file has more than 256 KiB"),
    ("{{ 'x' * 300000 }}", 1, "too long: more than 200,000 characters"),
    ("{% for i in range(300000) %}x{% endfor %}", 1, "Range too big"),
]


@pytest.mark.parametrize(("source", "line", "message"), BROKEN, ids=[message for _, _, message in BROKEN])
def test_a_broken_template_is_named_with_its_line(tmp_path: Path, source: str, line: int, message: str) -> None:
    override(tmp_path, TEXT, source)
    subject, text, html = here(tmp_path, seen(tmp_path))
    assert text["trouble"]["template"] == TEXT
    assert text["trouble"]["line"] == line
    assert text["trouble"]["message"].startswith(message)
    assert "text" in subject
    assert "text" in html


def test_a_mistake_in_an_included_file_is_found_there(tmp_path: Path) -> None:
    override(tmp_path, TEXT, '\n\n{% include "part.j2" %}')
    override(tmp_path, "part.j2", "\n{{ nope }}")
    (answer,) = here(tmp_path, seen(tmp_path), (TEXT,))
    assert answer["trouble"] == {"template": "part.j2", "line": 2, "message": "'nope' is undefined"}


def test_links_out_of_the_workspace_pipes_and_odd_bytes_are_no_templates(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    (workspace / "templates").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    path = workspace / "templates" / TEXT

    def trouble() -> str:
        (answer,) = here(workspace, seen(tmp_path), (TEXT,))
        path.unlink()
        return str(answer["trouble"]["message"])

    path.symlink_to(tmp_path / "secret")
    assert trouble() == "this is not a regular file inside the workspace"
    path.symlink_to(workspace / "gone")
    assert trouble() == "this is not a regular file inside the workspace"
    os.mkfifo(path)
    assert trouble() == "this is not a regular file inside the workspace"
    path.write_bytes(b"\xff\xfe")
    assert trouble() == "the file is not UTF-8"
    for name in ("shared.j2", ".env", ".git/config", ".connrunner/journal.jsonl", "templates/.hidden"):
        (workspace / name).parent.mkdir(exist_ok=True)
        (workspace / name).write_text("not yours")
        path.symlink_to(workspace / name)
        assert trouble() == "this is a link to what is no configuration"
    for name in ("templates/shared.j2", "templates/..data/x.j2", "connections/a.yaml"):
        (workspace / name).parent.mkdir(exist_ok=True)
        (workspace / name).write_text("fine")
        path.symlink_to(workspace / name)
        assert here(workspace, seen(tmp_path), (TEXT,)) == [{"text": "fine"}]
        path.unlink()


WORDY = [  # templates that choose the words of their own error
    ("{{ run[words] }}", "'dict object' has no attribute '"),
    ("{{ {}[words] }}", "'dict object' has no attribute '"),
    ("{% include words %}", "there is no template '"),
    ("{% include [words, words] %}", "there is no template '"),
    ("{{ ''|indent(words) }}", ""),
    ("{{ 'x'|format(words) }}", ""),
    ("{{ [1]|sum(start=words) }}", ""),
    ("{{ 1|number(words) }}", ""),
    ("{{ words|number }}", ""),
    ("{{ [{'a': 1}]|map(attribute=words)|map('upper')|join }}", ""),
    ("{{ ''|attr(words) }}{{ (''|attr(words)).x }}", ""),
    ("{{ [1]|map(words)|list }}", ""),
    ("{{ [1]|select(words)|list }}", ""),
    ("{{ [1]|dictsort(by=words) }}", ""),
    ("{{ {'a': 1}|dictsort(by=words) }}", ""),
]


@pytest.mark.parametrize(("template", "begins"), WORDY)
def test_a_template_says_little_in_its_own_error(tmp_path: Path, template: str, begins: str) -> None:
    words = " ".join(f"{number:04}" for number in range(200))
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / TEXT).write_text(f"{{% set words = '{words}' %}}\n{template}\n")
    (answer,) = here(tmp_path, seen(tmp_path), (TEXT,))
    message = answer["trouble"]["message"] if "trouble" in answer else ""
    assert message.startswith(begins)
    assert len(message) <= 70
    assert "0010" not in message


# --- hostile -----------------------------------------------------------------------------------------------------

ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ ''['__class__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ ().__class__.__bases__[0].__subclasses__() }}",
    "{{ run.items.__self__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ lipsum.__globals__['os'] }}",
    "{{ lipsum['__globals__'] }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context.environment }}",
    "{{ '{0.__class__.__mro__}'.format('') }}",
    "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "{{ ('%s'|attr('format'))('{0.__class__}') ~ ''.__class__ }}",
    "{{ ['{0.__class__}']|map('format', 1)|list ~ ''.__class__ }}",
    "{{ ''|attr('for' ~ 'mat')|attr('__self__') }}",
    "{{ (1).__class__ }}",
    "{{ range.__class__ }}",
    "{{ dict.__base__ }}",
    "{{ loop }}",
    "{% set x = run.update({'number': 0}) %}",
    "{% set x = run.clear() %}",
    "{% set x = rejects.append(1) %}",
    "{% set x = counts.pop('read') %}",
    "{% set ns = namespace() %}{% set ns.__class__ = 1 %}{{ ns.__class__ }}",
    "{% for k in [''] | map(attribute='__class__') %}{{ k }}{% endfor %}",
    "{{ [run] | sum(attribute='__class__') }}",
    "{{ (run | groupby('__class__')) }}",
    "{% import 'os' as os %}",
    "{{ config }}",
    "{{ request.application }}",
    "{{ url_for.__globals__ }}",
    "{% macro m() %}{{ caller.__globals__ }}{% endmacro %}{% call m() %}{% endcall %}",
    "{% macro m() %}{% endmacro %}{{ m.__call__.__func__ }}",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_no_template_reaches_objects_or_changes_what_it_sees(tmp_path: Path, source: str) -> None:
    override(tmp_path, TEXT, source)
    sees = seen(tmp_path)
    before = json.dumps(sees)
    (answer,) = here(tmp_path, sees, (TEXT,))
    assert "trouble" in answer, answer
    assert json.dumps(sees) == before


# --- the process -------------------------------------------------------------------------------------------------

PLAIN = "CRM contacts: run 12 partial"


def both(workspace: Path, contexts: list[dict[str, Any]], seconds: float = 600) -> list[RenderedMessage]:
    return render(workspace, contexts, deadline=time.monotonic() + seconds)


@pytest.mark.slow
def test_several_mails_are_rendered_in_one_go(tmp_path: Path) -> None:
    sees = [seen(tmp_path, changed_run(RUN, run=number)) for number in range(1, 30)]
    mails = both(tmp_path, sees)
    assert [mail.subject for mail in mails] == [f"CRM contacts: run {n} partial, 14 rows refused" for n in range(1, 30)]
    assert all(mail.html and mail.html.rstrip().endswith("</html>") for mail in mails)


@pytest.mark.slow
def test_a_broken_template_gives_a_plain_mail_that_says_so(tmp_path: Path) -> None:
    override(tmp_path, HTML, "\n{{ nope }}")
    (mail,) = both(tmp_path, [seen(tmp_path)])
    assert mail.html is None
    assert mail.subject == PLAIN
    assert "templates/run.html.j2, line 2: 'nope' is undefined" in mail.text
    for fact in ("14 of 12,000 rows were refused", "created: 500", "connrunner log crm 12", "01:30:02 +01:00"):
        assert fact in mail.text


def test_the_plain_mail_needs_no_more_than_the_least_of_a_run(tmp_path: Path) -> None:
    run = changed_run(RUN, started_at=None, message="", counts=Counts(), commit=None)
    mail = fallback(seen(tmp_path, run, rejects=0), RenderProblem(template="a\r\nb.j2", line=1, message="x\ny" * 999))
    assert "Started: never" in mail.text
    assert "templates/a b.j2, line 1: x yx yx" in mail.text
    assert len(mail.text) < 1500


# A template that would go on and on, what its mail says, and whether the line is known.
BOMBS = [
    ("\n{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", 2, "takes too long"),
    ("\n{{ 'a' * 10 ** 9 }}", 2, "needs too much memory"),
    pytest.param("\n{% set x = 10 ** (run.number * 10 ** 9) %}", 2, "takes too long", marks=pytest.mark.thorough),
    ("\n{{ '%099999999999d' % run.number }}", 2, "memory"),
    pytest.param("{{ lipsum(n=10 ** 7) }}", 1, "takes too long", marks=pytest.mark.thorough),
    # One comparison in C, of two to the power of 40 steps: no exception comes through, only the kernel ends it.
    pytest.param(
        """
{% set ns = namespace(a=[1], b=[1]) %}
{% for i in range(40) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}
{{ ns.a == ns.b }}""",
        1,
        "takes too long",
        marks=pytest.mark.thorough,
    ),
]


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize(("source", "line", "message"), BOMBS)
def test_a_bomb_is_bounded_and_costs_its_own_mail_only(tmp_path: Path, source: str, line: int, message: str) -> None:
    override(tmp_path, TEXT, "{% if run.number == 13 %}" + source + "{% endif %}")
    sees = [seen(tmp_path, changed_run(RUN, run=number)) for number in (12, 13)]
    jobs = [{"template": name, "context": index} for index in range(2) for name in TEMPLATES]
    done = ask_sandbox(tmp_path, jobs, sees, deadline=time.monotonic() + 600, cpu_seconds=1)
    assert ["text" in answer for answer in done] == [True, True, True, True, False, True]
    trouble = done[4]["trouble"]
    assert trouble["template"] == TEXT
    assert trouble["line"] == line
    assert message in trouble["message"]


@pytest.mark.long
@pytest.mark.slow
def test_three_bombs_at_once_are_bounded_together(tmp_path: Path) -> None:
    for name in TEMPLATES:
        override(tmp_path, name, "{{ [[0] * 10 ** 7] * 10 ** 7 }}")
    sees = [seen(tmp_path)] * 20
    jobs = [{"template": name, "context": index} for index in range(20) for name in TEMPLATES]
    done = ask_sandbox(tmp_path, jobs, sees, deadline=time.monotonic() + 600, cpu_seconds=1)
    assert [answer["trouble"]["template"] for answer in done] == list(TEMPLATES) * 20


@pytest.mark.slow
def test_the_deadline_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a process that uses no processor time and would sleep for ever."""
    (tmp_path / "python").write_text("#!/bin/sh\nexec sleep infinity\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    (mail,) = both(tmp_path, [seen(tmp_path)], seconds=0.5)
    assert "rendering takes too long" in mail.text


@pytest.mark.slow
def test_the_process_knows_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", "hunter2-hunter2")
    started: list[dict[str, str]] = []
    popen: Any = subprocess.Popen

    def spy(*args: Any, env: dict[str, str], **kwargs: Any) -> Any:
        started.append(env)
        return popen(*args, env=env, **kwargs)

    monkeypatch.setattr(subprocess, "Popen", spy)
    assert both(tmp_path, [seen(tmp_path)])[0].html
    assert started
    assert "hunter2-hunter2" not in str(started)


def test_a_process_that_cannot_start_costs_the_form_and_not_the_mail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "gone"))
    (mail,) = both(tmp_path, [seen(tmp_path)])
    assert mail.subject == PLAIN
    assert "the process that renders cannot start: No such file or directory" in mail.text


@pytest.mark.slow
def test_a_process_that_breaks_costs_the_form_and_not_the_mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "python").write_text(
        "#!/bin/sh\necho half; printf '{\"text\": '; echo 'No module named x' >&2; exit 3\n"
    )
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    (mail,) = both(tmp_path, [seen(tmp_path)])
    assert mail.subject == PLAIN
    assert "status 3: No module named x" in mail.text


@pytest.mark.slow
def test_a_relative_workspace_has_its_templates_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    override(tmp_path, SUBJECT, "mine")
    monkeypatch.chdir(tmp_path)
    assert both(Path(), [seen(tmp_path)])[0].subject == "mine"
