"""Files that nobody reads, merges that nobody finished, templates that say nothing: each is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from connrunner.answers.validation import validate_workspace
from connrunner.core import merge_conflict
from connrunner.notify.check import check_templates
from tests.conftest import Place

SOUND = "schedule: {type: manual}\ncommand: {run: [x]}\n"
CONFLICT = "<<<<<<< HEAD\n{0}\n=======\n{1}\n>>>>>>> theirs\n"


def told(folder: Path) -> list[tuple[str, str, str]]:
    """Return path, code and advice of each problem of a workspace."""
    return [(problem.path, problem.code, problem.hint) for problem in validate_workspace(folder, [])]


UNREAD = [
    ("connections/FOO.YAML", "wrong-suffix", "rename it to foo.yaml"),
    ("connections/foo.Yaml", "wrong-suffix", "rename it to foo.yaml"),
    ("connections/foo.YML", "wrong-suffix", "rename it to foo.yaml"),
    ("connections/foo.yml", "wrong-suffix", "rename it to foo.yaml"),
    ("schedules/nightly.YAML", "wrong-suffix", "rename it to nightly.yaml"),
    ("notifications/team.Yml", "wrong-suffix", "rename it to team.yaml"),
    ("connections/.foo.yaml", "bad-name", "rename it, or take it away"),
    ("PROFILE.YAML", "bad-name", "rename it to profile.yaml"),
    ("Connrunner.yml", "bad-name", "rename it to connrunner.yaml"),
    ("Connections/foo.yaml", "bad-name", "rename it to connections"),
    ("connections/deep/foo.YAML", "nested-file", "move it up into connections/"),
]


@pytest.mark.parametrize(("path", "code", "hint"), UNREAD)
def test_a_file_that_is_not_read_is_told(path: str, code: str, hint: str, place: Place) -> None:
    place.write("connections/sound.yaml", SOUND)
    place.write(path, SOUND)
    found = [path.partition("/")[0] if path.startswith("Connections") else path, code, hint]
    assert told(place.folder) == [tuple(found)]


def test_what_programs_leave_beside_files_is_not_told(place: Place) -> None:
    place.write("connections/sound.yaml", SOUND)
    (place.folder / "connections/.#sound.yaml").symlink_to("jane@host.1234")
    for name in ("sound.yaml~", ".sound.yaml.swp", "README.md"):
        place.write(f"connections/{name}", "")
    assert told(place.folder) == []


# --- merges --------------------------------------------------------------------------------------------------------

CONFLICTS = [
    # text, line, whether it is YAML
    ("a: 1\n" + CONFLICT.format("b: 1", "b: 2"), 2, True),
    ("a: 1\r\n<<<<<<< HEAD\r\nb: 1\r\n=======\r\n>>>>>>> x\r\n", 2, True),
    ("<<<<<<< ours\n||||||| base\n=======\n>>>>>>> theirs\n", 1, True),
    ("a: 1\n=======\nb: 2\n>>>>>>> theirs\n", 2, True),  # half of it taken out
    ("a: 1\n>>>>>>> theirs\n", 2, True),
    ("<<<<<<<<<<<<<<< HEAD\n===============\n>>>>>>>>>>>>>>> x", 1, True),  # git's conflict-marker-size
    ("a: |\n  <<<<<<< HEAD\n", None, True),
    ("a: '=======\n  '\n", None, True),
    ("a: <<<<<<<\n", None, True),
    ("Hello\n=======\n", None, False),
    ("Hello\n>>>>>>> Read more\n", None, False),
    ("Hello\n" + CONFLICT.format("x", "y"), 2, False),
]


@pytest.mark.parametrize(("text", "line", "is_yaml"), CONFLICTS)
def test_the_first_marker_of_a_conflict(text: str, line: int | None, is_yaml: bool) -> None:
    assert merge_conflict.find_line(text, is_yaml=is_yaml) == line


FILES = {
    "connections/a.yaml": SOUND,
    "schedules/s.yaml": "type: manual\n",
    "notifications/n.yaml": "email: [a@example.com]\n",
    "profile.yaml": "properties: {email: {type: email, identifier: true}}\n",
    "connrunner.yaml": "version: 1\n",
    "templates/run.txt.j2": "{{ connection.title }}\n",
    "templates/late.html.j2": "{{ connection.title }}\n",
}


@pytest.mark.thorough
@pytest.mark.parametrize("path", FILES)
def test_an_unresolved_merge_is_one_problem_of_its_file(path: str, place: Place) -> None:
    for name, content in FILES.items():
        place.write(name, content)
    assert told(place.folder) == []
    place.write(path, FILES[path] + CONFLICT.format("{{ x", "{{ y"))
    (problem,) = validate_workspace(place.folder, [])
    assert (problem.path, problem.line, problem.code) == (path, FILES[path].count("\n") + 1, "merge-conflict")
    assert problem.message == "the file holds an unresolved merge conflict"
    assert problem.source == "<<<<<<< HEAD"


# --- templates -----------------------------------------------------------------------------------------------------

EMPTY = [
    "",
    "\n",
    " \t\n\u00a0",
    "{# nothing #}",
    "{% if false %}x{% endif %}",
    "{{ '' }}",
]


@pytest.mark.thorough
@pytest.mark.parametrize("content", EMPTY)
@pytest.mark.parametrize("name", ["run.txt.j2", "run.subject.j2", "late.html.j2"])
def test_a_template_that_gives_nothing_is_a_problem(name: str, content: str, place: Place) -> None:
    place.write(f"templates/{name}", content)
    (problem,) = check_templates(place.folder)
    assert (problem.path, problem.code) == (f"templates/{name}", "template")
    assert problem.message == "this template gives an empty text, and a mail would go out so"


@pytest.mark.parametrize("name", ["run.txt.J2", "RUN.TXT.J2"])
def test_a_template_in_capitals_is_told(name: str, place: Place) -> None:
    place.write(f"templates/{name}", "x")
    assert [(one.path, one.hint) for one in check_templates(place.folder)] == [
        (f"templates/{name}", "rename it to run.txt.j2")
    ]


def test_a_chat_without_a_text_of_its_own_is_sound(place: Place) -> None:
    place.write("templates/run.chat.j2", "")
    assert check_templates(place.folder) == ()
