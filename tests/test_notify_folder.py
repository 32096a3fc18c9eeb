"""Mail into a folder: private, whole, the same file for each repeat."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connrunner.core.alerts.notice import Notice
from connrunner.notify.mail_folder import Folder, file_name, resolve_folder
from connrunner.notify.transport import DeliveryResult

ENDED = datetime(2026, 11, 22, 9, 15, 7, tzinfo=UTC)
NOTICE = Notice(id="n", connection="crm", run=12, event="failed", recipients=())

PLACES = [
    ("file:", "/state/mail"),
    ("file:/", "/state/mail"),
    ("file://", "/state/mail"),
    ("file:out/mail", "/ws/out/mail"),
    ("file:/var/mail/x", "/var/mail/x"),
    ("file:///var/mail/x", "/var/mail/x"),
    ("file:out%20put", "/ws/out put"),
]


@pytest.mark.parametrize(("server", "path"), PLACES)
def test_where_mail_goes(server: str, path: str) -> None:
    assert resolve_folder(server, workspace=Path("/ws"), default=Path("/state/mail")) == Path(path)


def send(folder: Path, recipient: str = "ann@example.com", data: bytes = b"mail") -> DeliveryResult:
    carrier = Folder(folder, {"n": ENDED})
    answer = carrier.send(NOTICE, recipient, "c@example.com", data)
    carrier.close()
    return answer


def test_a_mail_is_a_private_file_with_a_telling_name(tmp_path: Path) -> None:
    assert send(tmp_path / "a" / "mail") == DeliveryResult(result="sent")
    (file,) = (tmp_path / "a" / "mail").iterdir()
    assert file.name == "20261122T091507Z-crm-12-ann@example.com.eml"
    assert file.read_bytes() == b"mail"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_a_repeat_replaces_the_file(tmp_path: Path) -> None:
    send(tmp_path)
    send(tmp_path, data=b"again")
    (file,) = tmp_path.iterdir()
    assert file.read_bytes() == b"again"


def test_an_attempt_that_broke_off_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / ".20261122T091507Z-crm-12-ann@example.com.eml.new").write_bytes(b"half of a longer m")
    assert send(tmp_path).result == "sent"
    (file,) = tmp_path.iterdir()
    assert file.read_bytes() == b"mail"


def test_no_two_recipients_share_a_file() -> None:
    recipients = ["a/b@x", "a_b@x", "a?b@x", "A" * 64 + "@x", "A" * 64 + "@y", "../../../etc/passwd"]
    names = [file_name(NOTICE, recipient, ENDED) for recipient in recipients]
    assert len(set(names)) == len(names)
    assert not [name for name in names if "/" in name or len(name) > 255 or not name.endswith(".eml")]


def test_a_place_that_is_no_folder_defers_with_path_and_reason(tmp_path: Path) -> None:
    (tmp_path / "mail").write_text("a file")
    answer = send(tmp_path / "mail")
    assert answer.result == "deferred"
    assert str(tmp_path / "mail") in answer.reason
    assert "File exists" in answer.reason


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    answer = send(tmp_path)
    assert answer.result == "deferred"
    assert "No space left on device" in answer.reason
    assert list(tmp_path.iterdir()) == []
