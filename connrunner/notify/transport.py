"""What carries a finished mail: a mail server or a folder."""

from __future__ import annotations

from typing import Protocol

from connrunner.core.alerts.notice import DeliveryStatus, Notice
from connrunner.errors import ConnrunnerError
from connrunner.lazy_dataclasses import dataclass


class ServerError(ConnrunnerError):
    """`mail.server` names nothing that mail can be given to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveryResult:
    """What came of one mail to one recipient."""

    result: DeliveryStatus
    reason: str = ""  # empty when sent


class Transport(Protocol):
    """Takes mails one by one; it never raises for what a server, a network or a disk does."""

    def send(self, notice: Notice, recipient: str, source: str, data: bytes) -> DeliveryResult:
        """Hand *data* over for *recipient*, from the address *source*."""

    def close(self) -> None:
        """Say goodbye."""
