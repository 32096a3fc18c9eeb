"""Signs of life: what a receiver outside hears of runs and ticks, and what a dead one costs."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from connrunner.core.model import Heartbeat
from connrunner.messenger.pinger import send_ping
from connrunner.notify import pings
from connrunner.notify.pings import Ping, PingSender
from tests.conftest import Place
from tests.receiver import Receiver, receiving

ADDRESSES: list[tuple[str, Ping, str, str]] = [
    # url                             sign       rid  goes to
    ("https://hc-ping.com/abc", "start", "1-2", "https://hc-ping.com/abc/start?rid=1-2"),
    ("https://hc-ping.com/abc/", "success", "1-2", "https://hc-ping.com/abc?rid=1-2"),
    ("https://hc-ping.com/abc", "fail", "", "https://hc-ping.com/abc/fail"),
    ("http://h:8000/push?token=x", "fail", "1", "http://h:8000/push/fail?token=x&rid=1"),
]


@pytest.mark.parametrize(("url", "sign", "rid", "where"), ADDRESSES)
def test_a_ping_goes_to_an_address_of_its_own(url: str, sign: Ping, rid: str, where: str) -> None:
    assert pings.ping_address(url, sign, rid) == where


def test_start_and_end_of_a_run_bear_the_same_id_and_no_other_run_does() -> None:
    rids = [pings.run_ping_id(Path("/s"), "a", run, at) for run in (1, 2) for at in ("x", "y")]
    assert len(set(rids)) == 4
    assert pings.run_ping_id(Path("/s"), "a", 1, "x") == rids[0]


def test_a_sign_of_life_is_due_once_in_its_time(tmp_path: Path) -> None:
    now, every = datetime(2026, 11, 22, 10, 0, tzinfo=UTC), Heartbeat(url="x", every=300)
    stamp = tmp_path / "heartbeat"
    assert pings.next_ping(stamp, every, now) == now
    stamp.touch()
    os.utime(stamp, (now.timestamp(), now.timestamp()))
    assert pings.next_ping(stamp, every, now + timedelta(seconds=299)) == now + timedelta(minutes=5)
    past = now - timedelta(days=400)  # the clock went back
    assert pings.next_ping(stamp, every, past) == past


@pytest.fixture
def outside() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def ping(url: str, sign: Ping = "success") -> dict[str, str]:
    return {"url": url, "sign": sign, "rid": "", "body": "hi"}


def test_what_goes_wrong_is_told_without_the_secret(
    tmp_path: Path, outside: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEAT", f"{outside.url}/SECRET-abcdef")
    assert send_ping(ping("env:BEAT"), tmp_path) == ""
    assert outside.got[-1].path == "/SECRET-abcdef"
    outside.status = 404
    assert send_ping(ping("env:BEAT"), tmp_path) == "the server answered 404; is the URL right?"
    monkeypatch.setenv("BEAT", "http://127.0.0.1:1/SECRET-abcdef")
    assert send_ping(ping("env:BEAT"), tmp_path) == "the server cannot be reached: Connection refused"
    assert "the environment variable GONE is not set" in send_ping(ping("env:GONE"), tmp_path)
    for clear in ("http://hc.example.com/SECRET", "http://127.0.0.1.evil.example/SECRET", "HTTP://10.0.0.1/SECRET"):
        monkeypatch.setenv("BEAT", clear)
        said = send_ping(ping("env:BEAT"), tmp_path)
        assert "which everybody on the way could read; write https://" in said
        assert "SECRET" not in said
    for inner in ("https://169.254.169.254/SECRET", "https://[fe80::1]/SECRET", "https://168.63.129.16/SECRET"):
        monkeypatch.setenv("BEAT", inner)
        said = send_ping(ping("env:BEAT"), tmp_path)
        assert "where clouds tell a machine its credentials" in said
        assert "SECRET" not in said
    for odd in ("file:///etc/passwd-SECRET", "no url SECRET", "http://[SECRET", "http://SECRET host/"):
        monkeypatch.setenv("BEAT", odd)
        assert "SECRET" not in send_ping(ping("env:BEAT"), tmp_path)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_ping_follows_nobody(status: int, tmp_path: Path, outside: Receiver) -> None:
    with receiving() as inside:
        outside.status = status
        outside.location = f"{inside.url}/internal?x"
        assert send_ping(ping(outside.url), tmp_path) == f"the server answered {status}; is the URL right?"
        assert len(outside.got) == 1
        assert inside.got == []


def test_a_name_may_lead_where_no_ping_goes(tmp_path: Path, outside: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is the address that a name is looked up to."""
    found = socket.getaddrinfo

    def look_up(host: str, *arguments: Any, **more: Any) -> Any:
        if host == "hc.example.com":
            host = "169.254.169.254"
        return found(host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert "where clouds tell" in send_ping(ping("https://hc.example.com/x"), tmp_path)


def test_no_proxy_gets_a_ping_to_this_machine(
    tmp_path: Path, outside: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert send_ping(ping(f"{outside.url}/x"), tmp_path) == ""
        assert (len(outside.got), proxy.got) == (1, [])


@pytest.mark.slow
def test_a_success_never_overtakes_its_start_and_a_slow_server_keeps_nobody(
    tmp_path: Path, outside: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pings, "PATIENCE", 0.2)
    outside.hold = threading.Event()
    beating = PingSender(tmp_path)
    for number in range(5):
        beating.send(outside.url, "start", about="crm", rid=str(number))
        beating.send(outside.url, "success", about="crm", rid=str(number))
    assert beating.rest() == []
    outside.wait(1)
    outside.hold.set()
    got = outside.wait(10)
    monkeypatch.setattr(pings, "PATIENCE", 120)
    assert beating.rest() == []
    expected = [f"{path}?rid={number}" for number in range(5) for path in ("/start", "")]
    assert [one.path.replace("/?", "?") for one in got] == expected


def heard(outside: Receiver) -> list[tuple[str, str]]:
    return [(urlsplit(got.path).path, got.body) for got in outside.got]


@pytest.mark.slow
def test_a_tick_and_its_runs_give_signs_of_life(place: Place, outside: Receiver) -> None:
    url = {"URL": f"{outside.url}/SECRET"}
    settings = place.folder / "connrunner.yaml"
    settings.write_text(settings.read_text() + "heartbeat: {url: 'env:URL', every: 5m}\n")
    more = "heartbeat: {url: '%s/%s'}\n"
    place.command(
        "good", "print('fine')", schedule="{type: times_per_day, times: 1}", more=more % (outside.url, "good")
    )
    place.command(
        "bad",
        "raise SystemExit('no file')",
        schedule="{type: times_per_day, times: 1}",
        more=more % (outside.url, "bad"),
    )

    done = place.run("tick", "--now", "2026-11-22T10:00:30Z", env=url)
    assert "heartbeat" not in done.out + done.err
    assert sorted(heard(outside)) == [
        ("/SECRET", "connections: 2, running: 0, waiting: 2"),
        ("/bad/fail", "run 1 failed (exit-status)"),
        ("/bad/start", "run 1 has started"),
        ("/good", "run 1 succeeded"),
        ("/good/start", "run 1 has started"),
    ]
    rids = {urlsplit(got.path).path: parse_qs(urlsplit(got.path).query).get("rid") for got in outside.got}
    assert rids["/bad/start"] == rids["/bad/fail"] != rids["/good/start"] == rids["/good"]
    assert rids["/SECRET"] is None

    place.run("tick", "--now", "2026-11-22T10:04:59Z", env=url)
    assert len(outside.got) == 5
    outside.status = 500
    said = place.run("tick", "--now", "2026-11-22T10:05:00Z", env=url)
    assert outside.got[5].path == "/SECRET"
    assert "the heartbeat of the workspace was not taken: the server answered 500" in said.out
    assert "SECRET" not in said.out + said.err

    place.state.journal.chmod(0o400)
    place.state.journal.write_bytes(b"") if os.geteuid() else place.state.journal.unlink()
    if os.geteuid() == 0:
        place.state.journal.mkdir()  # root may write everything, but no folder
    place.run("tick", "--now", "2026-11-22T10:11:00Z", env=url, check=74)
    assert outside.got[6].path == "/SECRET/fail"
    assert outside.got[6].body == "the state folder cannot be used"


@pytest.mark.slow
def test_quiet_ticks_wake_for_the_next_sign_of_life(
    place: Place, outside: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    from connrunner.scheduler import idle
    from connrunner.scheduler.tick import Tick

    place.write("connrunner.yaml", f"version: 1\nheartbeat: {{url: '{outside.url}/x', every: 2m}}\n")
    place.command("hello", "print(1)", schedule="{type: manual}")
    monkeypatch.setattr(idle, "RACY", float("-inf"))  # files are old enough to be believed
    monkeypatch.setattr(pings, "PATIENCE", 120)
    said: list[dict[str, object]] = []
    tick = Tick(place.folder, place.state, say=said.append)
    tick.take_in()
    tick.settle()
    tick.rest()
    assert [got.path for got in outside.got] == ["/x"]
    arguments = ["--workspace", str(place.folder)]
    assert idle.nothing_to_do(arguments)
    stamp = place.state.heartbeat.stat().st_mtime
    for later, is_quiet in ((119.0, True), (120.0, False)):
        monkeypatch.setattr(time, "time", lambda later=later: stamp + later)
        assert idle.nothing_to_do(arguments) is is_quiet
    assert said == []
