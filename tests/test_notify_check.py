"""The mistakes in a workspace's templates, found before a mail does."""

from __future__ import annotations

from pathlib import Path

import pytest

from connrunner.core.model import Outcome
from connrunner.notify import check as checking
from connrunner.notify.check import check
from connrunner.notify.render import TEMPLATES
from connrunner.notify.sandbox import answers

SEES = "a template sees commands, connection, counts, next_run, rejects, rejects_more, rejects_total, run, workspace"
NAMES = "the templates of a mail are run.subject.j2, run.txt.j2, run.html.j2"
CASES = [
    # files                                                        problems
    ({}, []),
    ({"run.txt.j2": "{{ connection.title }}\n", "readme.md": "{{ nope }}"}, []),
    ({"run.html.j2": '{% extends "connrunner/run.html.j2" %}{% block counts %}{% endblock %}'}, []),
    ({"run.txt.j2": '{% include "parts/foot.j2" %}', "parts/foot.j2": "bye"}, []),
    ({"run.txt.j2": '{% include "parts/" ~ run.outcome ~ ".j2" ignore missing %}', "parts/failed.j2": "oh"}, []),
    (
        {"run.txt.j2": "a\n{{ connection.titel }}\n"},
        ["templates/run.txt.j2:2:1: 'dict object' has no attribute 'titel'; did you mean 'title'?"],
    ),
    (
        {"run.txt.j2": "{{ runn.number }}"},
        ["templates/run.txt.j2:1:1: 'runn' is undefined; did you mean 'run'?"],
    ),
    (
        {"run.txt.j2": "{{ zzz }}"},
        [f"templates/run.txt.j2:1:1: 'zzz' is undefined; {SEES}"],
    ),
    (
        {"run.txt.j2": "\n{% if %}", "run.html.j2": "{{ x | nofilter }}", "run.subject.j2": "{% endfor %}"},
        [
            "templates/run.html.j2:1:1: No filter named 'nofilter'.",
            "templates/run.subject.j2:1:1: Encountered unknown tag 'endfor'.",
            "templates/run.txt.j2:2:1: Expected an expression, got 'end of statement block'",
        ],
    ),
    (
        # only one of the outcomes, and only when nothing ran
        {"run.txt.j2": "{% if run.outcome == 'skipped' and not run.started_at %}\n{{ run.startd_at }}{% endif %}"},
        [
            "templates/run.txt.j2:2:1: 'dict object' has no attribute 'startd_at'; did you mean 'started_at'?",
        ],
    ),
    (
        {
            "run.txt.j2": '{% include "foot.j2" %}',
            "foot.j2": "\n\n{% for reject in rejects %}{{ reject.lime }}{% endfor %}",
        },
        ["templates/foot.j2:3:1: 'dict object' has no attribute 'lime'; did you mean 'line'?"],
    ),
    (
        {"runs.txt.j2": "x"},
        ["templates/runs.txt.j2:1:1: this template is used by nothing; did you mean 'run.txt.j2'?"],
    ),
    (
        {"parts/foot.j2": "x"},
        [f"templates/parts/foot.j2:1:1: this template is used by nothing; {NAMES}"],
    ),
    (
        {"run.txt.j2": "{{ 'x' * 10 ** 10 }}"},
        ["templates/run.txt.j2:1:1: rendering needs too much memory"],
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("files", "problems"), CASES)
def test_problems_have_a_place_and_a_remedy(tmp_path: Path, files: dict[str, str], problems: list[str]) -> None:
    for name, text in files.items():
        path = tmp_path / "templates" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert [str(problem) for problem in check(tmp_path)] == problems


@pytest.mark.slow
def test_a_problem_shows_the_line_and_has_a_stable_code(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "run.txt.j2").write_text("a\nHello {{ nope }}!\n")
    (problem,) = check(tmp_path)
    assert (problem.source, problem.code) == ("Hello {{ nope }}!", "template")


def test_a_workspace_without_templates_starts_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "work", None)
    assert check(tmp_path) == ()


def test_our_own_templates_take_every_sample(tmp_path: Path) -> None:
    samples = list(checking._samples())
    assert {sample["run"]["outcome"] for sample in samples} == {outcome.value for outcome in Outcome}
    jobs = [{"template": name, "context": index} for index in range(len(samples)) for name in TEMPLATES]
    assert [answer for answer in answers(tmp_path / "templates", jobs, samples) if "text" not in answer] == []
