"""Channels: what a webhook receives, what is recorded, and what must never show."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from connrunner.config import target_extras
from connrunner.config.secrets import Masker
from connrunner.core.alerts.notice import Event
from connrunner.errors import RunError
from connrunner.notify import channel
from connrunner.notify.render import RenderedMessage
from connrunner.notify.transport import DeliveryResult
from tests.conftest import Place
from tests.receiver import Receiver, receiving

SAYS = RenderedMessage("CRM contacts: failing", "the text", "<p>the page</p>", "the chat <b>&</b>\nsecond line")
TOKEN = "T0KEN-abcdef"


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def tell(url: str, *, event: Event = "failing", patience: float = 120) -> DeliveryResult:
    def hide(secrets: list[str], text: str) -> str:
        return Masker(secrets).mask(text)

    return channel.send_to_channel("apprise:env:HOOK", SAYS, event, reveal=lambda _: url, hide=hide, patience=patience)


@pytest.mark.slow
def test_a_webhook_gets_subject_and_chat_text_and_a_refusal_is_told_without_the_secret(hook: Receiver) -> None:
    url = f"json://127.0.0.1:{hook.port}/{TOKEN}"
    assert tell(url) == DeliveryResult(result="sent")
    (got,) = hook.got
    said = json.loads(got.body)
    assert (got.method, got.path) == ("POST", f"/{TOKEN}")
    assert (said["title"], said["message"], said["type"]) == (SAYS.subject, SAYS.chat, "failure")

    hook.status = 403
    answer = tell(url, event="recovered")
    assert answer.result == "deferred"
    assert "403" in answer.reason
    assert TOKEN not in answer.reason
    assert json.loads(hook.got[-1].body)["type"] == "success"


@pytest.mark.thorough
@pytest.mark.slow
def test_a_service_that_hangs_is_left_behind(hook: Receiver) -> None:
    hook.hold = threading.Event()
    answer = tell(f"json://127.0.0.1:{hook.port}/{TOKEN}", patience=3)
    assert answer == DeliveryResult(result="deferred", reason="no answer within 3 s")


@pytest.mark.slow
def test_a_secret_that_is_no_url_is_told_without_it() -> None:
    answer = tell("hunter2-hunter2")
    assert answer.result == "deferred"
    assert answer.reason.startswith("the secret is no URL that Apprise knows")
    assert "hunter2" not in answer.reason


def test_a_secret_that_is_not_there_is_tried_again() -> None:
    def reveal(reference: str) -> str:
        raise RunError(f"cannot use the secret {reference}: it is not set")

    answer = channel.send_to_channel("apprise:env:HOOK", SAYS, "failed", reveal=reveal, hide=lambda _, text: text)
    assert answer == DeliveryResult(result="deferred", reason="cannot use the secret env:HOOK: it is not set")


ENDS = [
    # a program in the place of Python       what is recorded
    ("#!/bin/sh\nexit 3\n", "the process that tells channels ended with status 3"),
    ("#!/bin/sh\necho '[1]'\n", "the process that tells channels ended with status 0"),
    (None, "the process that tells channels cannot start: No such file or directory"),
]


@pytest.mark.parametrize(("program", "reason"), ENDS)
def test_a_process_that_breaks_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str | None, reason: str
) -> None:
    if program:
        (tmp_path / "python").write_text(program)
        (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert tell("json://localhost") == DeliveryResult(result="deferred", reason=reason)


def test_the_process_gets_no_secret_but_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", "hunter2-hunter2")
    seen: list[str] = []

    def start(arguments: list[str], **more: object) -> None:
        seen.append(str((arguments, more)))
        raise OSError(2, "no")

    monkeypatch.setattr(subprocess, "Popen", start)
    tell(f"json://localhost/{TOKEN}")
    assert "hunter2" not in seen[0]
    assert TOKEN not in seen[0]  # it goes by standard input, which nobody can list


def test_without_the_extra_it_is_said_how_to_get_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.write("notifications/ops.yaml", "email: [a@example.com]\nlanguage: nl\napprise: [env:SLACK_URL]\n")
    assert list(target_extras.find_missing_extras(place.folder)) == []
    monkeypatch.setattr(target_extras, "find_spec", lambda _: None)
    assert sorted(map(str, target_extras.find_missing_extras(place.folder))) == [
        (
            "notifications/ops.yaml:2:1: `language` needs the extra `languages`, which is not installed; "
            "pip install 'connrunner[languages]'"
        ),
        (
            "notifications/ops.yaml:3:1: `apprise` needs the extra `apprise`, which is not installed; "
            "pip install 'connrunner[apprise]'"
        ),
    ]
    monkeypatch.setitem(sys.modules, "apprise", None)
    assert channel._tell({}) == "channels need the extra `apprise`: pip install 'connrunner[apprise]'"


@pytest.mark.slow
@pytest.mark.thorough
def test_a_tick_tells_people_and_channels_and_tries_again_what_failed(place: Place, hook: Receiver) -> None:
    place.write("notifications/ops.yaml", "email: [a@example.com]\napprise: [env:HOOK, env:GONE]\n")
    place.command("crm", "raise SystemExit('no file')", more="notify: [{to: ops, when: failure}]\n")
    url = f"json://127.0.0.1:{hook.port}/{TOKEN}"
    place.run("run", "crm", check=1, env={"HOOK": url})
    (got,) = hook.got
    assert json.loads(got.body)["title"] == "crm: run 1 failed (exit-status)"
    assert "no file" in json.loads(got.body)["message"]
    records = [record for record in place.journal() if record["type"] == "delivered"]
    assert {record["recipient"]: record["result"] for record in records} == {
        "a@example.com": "sent",
        "apprise:env:HOOK": "sent",
        "apprise:env:GONE": "deferred",
    }
    assert len(list(place.state.mail.iterdir())) == 1
    assert TOKEN not in place.state.journal.read_text()
    reasons = [record["reason"] for record in records if record["result"] == "deferred"]
    assert "the environment variable GONE is not set" in reasons[0]


def test_a_language_that_nobody_knows_is_found(place: Place) -> None:
    place.write("notifications/team.yaml", "email: [a@example.com]\nlanguage: nl-XX\n")
    place.write("notifications/ops.yaml", "email: [a@example.com]\nlanguage: de-AT\n")
    (problem,) = target_extras.find_missing_extras(place.folder)
    assert str(problem).startswith("notifications/team.yaml:2:11: unknown language 'nl-XX'; did you mean 'nl-")
