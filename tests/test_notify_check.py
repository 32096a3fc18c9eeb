"""The mistakes in a workspace's templates, found before a mail does."""

from __future__ import annotations

from pathlib import Path

import pytest

from connrunner.notify import check as checking
from connrunner.notify.check import check_templates
from connrunner.notify.render import EVENTS, PARTS, choose_template
from connrunner.notify.samples import samples
from connrunner.notify.sandbox import answer_jobs

SEES = "a template sees " + ", ".join(sorted(next(samples([("", "")]))))
PLACES = "mails look into templates/, templates/targets/NAME/ and templates/connections/NAME/"
NAMES = "the templates of a mail about a run are run.subject.j2, run.txt.j2, run.html.j2"
CASES = [
    # files                                                        problems
    ({}, []),
    ({"run.txt.j2": "{{ connection.title }}\n", "readme.md": "{{ nope }}"}, []),
    ({"run.html.j2": '{% extends "connrunner/run.html.j2" %}{% block counts %}{% endblock %}'}, []),
    ({"run.txt.j2": '{% include "parts/foot.j2" %}', "parts/foot.j2": "bye"}, []),
    ({"run.txt.j2": '{% include "parts/" ~ run.outcome ~ ".j2" ignore missing %}', "parts/failed.j2": "oh"}, []),
    (
        {"run.txt.j2": "a\n{{ connection.titel }}\n"},
        ["templates/run.txt.j2:2:15: 'dict object' has no attribute 'titel'; did you mean 'title'?"],
    ),
    (
        {"run.txt.j2": "{{ runn.number }}"},
        ["templates/run.txt.j2:1:4: 'runn' is undefined; did you mean 'run'?"],
    ),
    (
        {"run.txt.j2": "{{ zzz }}"},
        [f"templates/run.txt.j2:1:4: 'zzz' is undefined; {SEES}"],
    ),
    (
        {"run.txt.j2": "\n{% if %}", "run.html.j2": "{{ x | nofilter }}", "run.subject.j2": "{% endfor %}"},
        [
            "templates/run.html.j2:1:8: No filter named 'nofilter'.",
            "templates/run.subject.j2:1:4: Encountered unknown tag 'endfor'.",
            "templates/run.txt.j2:2:1: Expected an expression, got 'end of statement block'",
        ],
    ),
    (
        # only one of the outcomes, and only when nothing ran
        {"run.txt.j2": "{% if run.outcome == 'skipped' and not run.started_at %}\n{{ run.startd_at }}{% endif %}"},
        [
            "templates/run.txt.j2:2:8: 'dict object' has no attribute 'startd_at'; did you mean 'started_at'?",
        ],
    ),
    (
        {
            "run.txt.j2": '{% include "foot.j2" %}',
            "foot.j2": "\n\n{% for reject in rejects %}{{ reject.lime }}{% endfor %}",
        },
        ["templates/foot.j2:3:38: 'dict object' has no attribute 'lime'; did you mean 'line'?"],
    ),
    (
        {"runs.txt.j2": "x"},
        ["templates/runs.txt.j2:1:1: this template is used by nothing; did you mean 'run.txt.j2'?"],
    ),
    (
        {"parts/foot.j2": "x"},
        [f"templates/parts/foot.j2:1:1: this template is used by nothing; {NAMES}"],
    ),
    ({"failing.txt.j2": "{{ failing.since }}", "digest.html.j2": "{{ digest.total.runs | number }}"}, []),
    (
        {"layout.html.j2": '{% extends "connrunner/layout.html.j2" %}{% block footer %}{{ workspace }}{% endblock %}'},
        [],
    ),
    ({"targets/data-team/run.txt.j2": "{{ target }}", "connections/crm/late.subject.j2": "{{ late.by }}"}, []),
    (
        # a part that only some of the events have
        {"run.txt.j2": "{{ failing.since }}"},
        [
            (
                "templates/run.txt.j2:1:12: 'None' has no attribute 'since'; "
                "not every event has it; ask with {% if ... %} first, or write a template for the events that have it"
            )
        ],
    ),
    (
        {"recovered.subject.j2": "{{ failing.sinse }}"},
        ["templates/recovered.subject.j2:1:12: 'dict object' has no attribute 'sinse'; did you mean 'since'?"],
    ),
    (
        {"digest.txt.j2": "{% for one in digest.connections %}{{ one.titel }}{% endfor %}"},
        ["templates/digest.txt.j2:1:43: 'dict object' has no attribute 'titel'; did you mean 'title'?"],
    ),
    (
        {"layout.html.j2": '{% extends "connrunner/layout.html.j2" %}\n{% block footer %}{{ nope }}{% endblock %}'},
        [f"templates/layout.html.j2:2:22: 'nope' is undefined; {SEES}"],
    ),
    (
        {"targets/data-team/run.txt.j2": "{{ tarjet }}"},
        ["templates/targets/data-team/run.txt.j2:1:4: 'tarjet' is undefined; did you mean 'target'?"],
    ),
    (
        {"targets/data-taem/run.txt.j2": "x", "connections/nobody/run.txt.j2": "x", "targets/run.txt.j2": "x"},
        [
            (
                "templates/connections/nobody/run.txt.j2:1:1: this template is for 'nobody', which does not exist; "
                "there is no connections/nobody.yaml"
            ),
            (
                "templates/targets/data-taem/run.txt.j2:1:1: this template is for 'data-taem', which does not exist; "
                "did you mean 'data-team'?"
            ),
            f"templates/targets/run.txt.j2:1:1: this template is used by nothing; {PLACES}",
        ],
    ),
    (
        {"run.txt.j2": "{{ 'x' * 10 ** 10 }}"},
        ["templates/run.txt.j2:1:1: rendering needs too much memory"],
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("files", "problems"), CASES)
@pytest.mark.thorough
def test_problems_have_a_place_and_a_remedy(tmp_path: Path, files: dict[str, str], problems: list[str]) -> None:
    for name in ("notifications/data-team.yaml", "connections/crm.yaml"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    for name, text in files.items():
        path = tmp_path / "templates" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert [str(problem) for problem in check_templates(tmp_path)] == problems


@pytest.mark.slow
def test_a_problem_shows_the_line_and_has_a_stable_code(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "run.txt.j2").write_text("a\nHello {{ nope }}!\n")
    (problem,) = check_templates(tmp_path)
    assert (problem.source, problem.code) == ("Hello {{ nope }}!", "template")


def test_a_workspace_without_templates_starts_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "ask_sandbox", None)
    assert check_templates(tmp_path) == ()


def test_our_own_templates_take_every_sample(tmp_path: Path) -> None:
    contexts = list(samples([("", "")]))
    assert {sample["event"] for sample in contexts} == set(EVENTS)
    jobs = [
        {"template": choose_template(tmp_path, context, part), "context": index}
        for index, context in enumerate(contexts)
        for part in PARTS
    ]
    assert [answer for answer in answer_jobs(tmp_path / "templates", jobs, contexts) if "text" not in answer] == []
