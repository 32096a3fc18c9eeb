"""Mail from the journal to servers that misbehave: nobody is forgotten, nobody is told twice without need."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from connrunner.cli import command_line as cli
from connrunner.core.alerts.notice import Notice
from connrunner.messenger import mailer
from connrunner.notify import outbox
from connrunner.notify.render import RenderedMessage
from connrunner.state.journal import Journal
from connrunner.state.journal_state import next_attempt
from tests.conftest import Place
from tests.servers.smtp import Post, Start, Wire, certificate, servers

pytestmark = [pytest.mark.slow, pytest.mark.thorough]

AT = "2026-11-22T06:00:00Z"
ANN, BOB, EVE = EVERYBODY = ("ann@example.com", "bob@example.com", "eve@example.com")
NOTICE = Notice(id="crm.1.failed.t", connection="crm", run=1, event="failed", recipients=EVERYBODY)
RUN = {
    "connection": "crm", "run": 1, "outcome": "failed", "trigger": "schedule", "due_at": AT, "queued_at": AT,
    "started_at": AT, "ended_at": AT, "seconds": 1.0, "counts": {},
}  # fmt: skip
DAY = timedelta(days=1)


class Days:
    """A workspace that owes a mail to three, and the clock by which it is sent."""

    def __init__(self, place: Place, post: Post, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place, self.post, self.wire = place, post, wire
        self.now = self.began = datetime(2026, 11, 22, 6, tzinfo=UTC)
        self.passes = 0

        class Clock(datetime):
            @classmethod
            def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
                return self.now

        for module in (mailer, outbox):
            monkeypatch.setattr(module, "datetime", Clock)
        # What a mail says is tried elsewhere; a process for each of many passes takes long.
        mail = RenderedMessage(subject="s", text="t\n", html=None)
        monkeypatch.setattr(outbox, "render", lambda _, contexts, deadline, **__: [mail for _ in contexts])
        self.state = place.state
        self.state.prepare()
        self.journal = Journal(self.state)
        self.journal.append({"type": "ended", "at": AT, "run": RUN, "owes": [NOTICE.as_dict()]})
        self.serve("smtp+plain://127.0.0.1:{port}")

    def serve(self, server: str) -> None:
        self.place.write("connrunner.yaml", f"version: 1\nmail: {{server: '{server.format(port=self.wire.port)}'}}\n")

    def tick(self) -> None:
        """Send what is due."""
        mailer.send_owed_mail(self.place.folder, self.state)
        self.passes += 1

    def go_on(self, *, until: Callable[[], bool] = lambda: False) -> None:
        """Let time pass from one attempt to the next until everybody is settled."""
        while owed := list(self.journal.read().owed.values()):
            if until():
                return
            due = min(at for one in owed if (at := next_attempt(one, self.now)))
            self.now = max(self.now, due)
            self.tick()
            assert self.passes < 400

    @property
    def told(self) -> Counter[str]:
        """How many copies each recipient got."""
        return Counter(to for envelope in self.post.taken for to in envelope.rcpt_tos)

    @property
    def dead(self) -> list[str]:
        return [letter["recipient"] for letter in self.journal.read().dead]


@pytest.fixture
def start() -> Iterator[Start]:
    with servers() as start:
        yield start


@pytest.fixture
def days(place: Place, start: Start, monkeypatch: pytest.MonkeyPatch) -> Iterator[Days]:
    post = start()
    wire = Wire(post.port)
    yield Days(place, post, wire, monkeypatch)
    wire.close()


ONCE = Counter(EVERYBODY)


def test_everybody_is_told_once(days: Days) -> None:
    days.go_on()
    assert (days.told, days.dead, days.passes) == (ONCE, [], 1)
    days.tick()
    assert days.told == ONCE


def test_the_instant_that_a_tick_takes_for_the_clock_counts_for_mail_too(days: Days) -> None:
    days.wire.down()
    tries = []
    for hours in (0, 0.01, 3, 3.05, 100, 121, 123):
        mailer.send_owed_mail(days.place.folder, days.state, now=days.began + timedelta(hours=hours))
        tries.append(sum(len(one.deliveries) for one in days.journal.read().owed.values()) // len(EVERYBODY))
    assert (tries, days.dead) == ([1, 1, 2, 2, 3, 4, 0], list(EVERYBODY))


@pytest.mark.thorough
def test_a_server_that_is_down_for_two_days(days: Days) -> None:
    days.wire.down()
    days.go_on(until=lambda: days.now - days.began > 2 * DAY)
    assert days.told == Counter()
    assert 48 < days.passes < 60
    days.wire.up()
    days.go_on()
    assert (days.told, days.dead) == (ONCE, [])


@pytest.mark.long
def test_a_server_that_is_down_for_ever_gives_dead_letters_that_show(
    days: Days, capsys: pytest.CaptureFixture[str]
) -> None:
    days.wire.down()
    days.go_on()
    assert 5 * DAY <= days.now - days.began < 5 * DAY + timedelta(hours=2)
    assert days.dead == list(EVERYBODY)
    assert cli.main(["status", "--workspace", str(days.place.folder), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["mail"] == {"owed": 0, "dead": 3}


def test_one_of_three_that_is_refused_costs_the_others_nothing(days: Days) -> None:
    days.post.refuse[BOB] = "550 no such user"
    days.go_on()
    assert (days.told, days.dead, days.passes) == (Counter([ANN, EVE]), [BOB], 1)
    assert "550 no such user" in days.journal.read().dead[0]["reason"]


def test_one_of_three_that_is_refused_for_now_is_tried_again_alone(days: Days) -> None:
    days.post.refuse[BOB] = "451 greylisted"
    days.go_on(until=lambda: days.passes == 4)
    assert days.told == Counter([ANN, EVE])
    assert days.now - days.began == timedelta(minutes=1 + 5 + 15)
    days.post.refuse.clear()
    days.go_on()
    assert (days.told, days.dead) == (ONCE, [])


def test_a_temporary_failure_of_everything_is_tried_again(days: Days) -> None:
    days.post.refuse_data = "451 the disk is full"
    days.go_on(until=lambda: days.passes == 3)
    days.post.refuse_data = ""
    days.go_on()
    assert (days.told, days.dead) == (ONCE, [])


def test_a_mail_that_is_refused_is_dead_at_once(days: Days) -> None:
    days.post.refuse_data = "554 this is spam"
    days.go_on()
    assert (days.told, days.dead, days.passes) == (Counter(), list(EVERYBODY), 1)


def test_a_line_that_is_cut_after_the_mail_gives_one_repeat_of_the_same_mail(days: Days) -> None:
    days.wire.state = "cut after the mail"
    days.go_on(until=lambda: days.passes == 1)
    assert days.told == ONCE  # the server has it, and we do not know
    days.wire.state = "whole"
    days.go_on()
    assert days.told == Counter(dict.fromkeys(EVERYBODY, 2))
    assert days.dead == []
    identities = {
        (envelope.rcpt_tos[0], days.post.mail(place)["Message-ID"]) for place, envelope in enumerate(days.post.taken)
    }
    assert len(identities) == 3


@pytest.mark.parametrize("state", ["hangs", "dribbles"])
def test_a_server_without_an_end_takes_no_more_than_its_time(
    days: Days, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailer, "PASS", 2.5)
    days.wire.state = state  # type: ignore[assignment]
    days.go_on(until=lambda: days.passes == 1)
    assert days.told == Counter()


def test_after_a_bad_certificate_nothing_leaves_in_clear_text(
    place: Place, start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trusted, other = trustme.CA(), trustme.CA()
    trusted.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    monkeypatch.setenv("MAIL_PASSWORD", "hunter2-hunter2")
    post = start(tls=certificate(other), auth=True)
    wire = Wire(post.port)
    days = Days(place, post, wire, monkeypatch)
    place.write(
        "connrunner.yaml",
        f"version: 1\nmail: {{server: 'smtp://localhost:{wire.port}', username: me, password: 'env:MAIL_PASSWORD'}}\n",
    )
    days.go_on(until=lambda: days.passes == 5)
    wire.close()
    assert post.connections == 5
    assert (post.taken, post.logins) == ([], [])
    (owed,) = days.journal.read().owed.values()
    assert "shows a certificate that cannot be trusted" in owed.deliveries[-1]["reason"]


@pytest.mark.long
def test_a_tick_is_not_held_by_a_server_that_hangs(place: Place) -> None:
    """A real tick, real templates, and a server that takes the connection and never says anything."""
    wire = Wire(1)
    wire.state = "hangs"
    place.write("connrunner.yaml", f"version: 1\nmail: {{server: 'smtp+plain://127.0.0.1:{wire.port}'}}\n")
    for name in ("a", "b", "c"):
        to = ", ".join(f"x{number}@example.com" for number in range(10))
        place.command(
            name, "pass", schedule="{type: times_per_day, times: 1}", more=f"notify: [{{to: [{to}], when: always}}]\n"
        )
    place.run("tick", "--now", "2026-11-21T05:00:00Z")  # runs and tries to mail
    place.run("tick", "--now", "2026-11-21T06:00:00Z")
    wire.close()
    assert place.state.journal.read_bytes().count(b"no answer in time") > 0
