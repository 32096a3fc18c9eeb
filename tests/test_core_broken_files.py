"""Who is told of files that cannot be used: once for each content of their problems, and once when they are fixed."""

from __future__ import annotations

from typing import Any

import pytest

from connrunner.core.alerts.notice import Notice
from connrunner.core.alerts.on_broken_files import FILES, PROBLEMS, BrokenFile, decide_file_notices
from connrunner.core.model import Notify, Target

TEAM = Target(name="team", to=("a@x", "b@x"), cc=("c@x",))


def rule(*to: Target, when: str = "failure", **more: Any) -> Notify:
    return Notify(to=to, when=when, **more)  # type: ignore[arg-type]


RULES = (rule(TEAM), rule(Target(to=("B@x", "d@x")), when="change"), rule(Target(to=("late@x",)), when="late"))


def broken(**contents: str) -> dict[str, BrokenFile]:
    return {
        name: BrokenFile(content=content, problems=(f"connections/{name}.yaml:1:1: {content}",))
        for name, content in contents.items()
    }


def said(notices: tuple[Notice, ...]) -> list[str]:
    def name(file: dict[str, Any]) -> str:
        return str(file["name"]) + ("(gone)" if file.get("gone") else "")

    return [f"{one.event} {','.join(map(name, one.facts['files']))}" for one in notices]


GONE = {"g", "h"}  # names whose file is not there when they are not broken

STORY = [
    # the files that are broken at each tick, with their problems   what is told
    ([{}], [[]]),
    ([{"a": "x"}, {"a": "x"}, {}], [["broken a"], [], ["fixed a"]]),
    ([{"b": "x", "a": "y"}, {"a": "y"}, {}], [["broken a,b"], ["fixed b"], ["fixed a"]]),
    ([{"a": "x"}, {"a": "y"}, {"a": "y", "b": "z"}], [["broken a"], ["broken a"], ["broken b"]]),
    ([{"a": "x"}, {"b": "x"}], [["broken a"], ["broken b", "fixed a"]]),
    ([{"g": "x"}, {}, {}], [["broken g"], ["fixed g(gone)"], []]),
    ([{"g": "x", "h": "x", "z": "y"}, {}], [["broken g,h,z"], ["fixed z,g(gone),h(gone)"]]),
]


@pytest.mark.parametrize(("ticks", "told"), STORY)
def test_each_content_of_problems_is_told_once(ticks: list[dict[str, str]], told: list[list[str]]) -> None:
    known: dict[str, str] = {}
    heard = []
    for files in ticks:
        found = decide_file_notices((rule(TEAM),), broken(**files), known, there={*"abz"}, token="t")
        heard.append(said(found.notices))
        known = dict(found.known)
        assert known == files
    assert heard == told


def test_each_address_gets_one_notice_of_all_files_whatever_its_rule_says() -> None:
    found = decide_file_notices(RULES, broken(a="x", b="y"), {}, there={*"abz"}, token="t")
    assert [(one.target, one.recipients, one.cc, one.connection, one.run) for one in found.notices] == [
        ("team", ("a@x", "b@x", "c@x"), ("c@x",), "", 0),
        ("", ("d@x",), (), "", 0),
    ]
    assert found.notices[0].facts == {
        "files": [
            {"name": name, "problems": [f"connections/{name}.yaml:1:1: {content}"], "more": 0, "same_as": ""}
            for name, content in (("a", "x"), ("b", "y"))
        ],
        "count": 2,
    }
    assert len({one.id for one in found.notices}) == 2


@pytest.mark.parametrize("rules", [(), RULES[2:]])
def test_what_nobody_was_told_is_told_when_there_is_somebody(rules: tuple[Notify, ...]) -> None:
    nobody = decide_file_notices(rules, broken(a="x"), {}, there={*"abz"}, token="t")
    assert (nobody.notices, nobody.known) == ((), {})


def test_what_an_older_release_told_of_is_not_told_again() -> None:
    assert decide_file_notices(RULES, broken(a="x"), {"a": "x"}, there={*"abz"}, token="t").notices == ()


def test_what_several_have_in_common_is_shown_once() -> None:
    (notice,) = decide_file_notices(
        (rule(Target(to=("a@x",))),), broken(a="x", b="y", c="x"), {}, there={*"abz"}, token="t"
    ).notices
    assert [(one["name"], len(one["problems"]), one["same_as"]) for one in notice.facts["files"]] == [
        ("a", 1, ""), ("b", 1, ""), ("c", 0, "a"),
    ]  # fmt: skip


def test_a_notice_is_no_larger_than_a_mail() -> None:
    many = {
        f"c{number:03}": BrokenFile(content=str(number), problems=("p" * 9999,) * 30) for number in range(FILES + 5)
    }
    (notice,) = decide_file_notices((rule(Target(to=("a@x",))),), many, {}, there={*"abz"}, token="t").notices
    assert (len(notice.facts["files"]), notice.facts["count"]) == (FILES, FILES + 5)
    assert {(len(one["problems"]), one["more"]) for one in notice.facts["files"]} == {(PROBLEMS, 30 - PROBLEMS)}
