"""Who asks: the name in the record of a request."""

from __future__ import annotations

import os
import pwd
import socket


def read_user_name() -> str:
    """Return the account of the person who typed the command."""
    try:
        return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container often runs as a user without a name
        return f"uid {os.getuid()}"


def user_and_host() -> str:
    """Return the account and the machine: several machines may see the same state."""
    return f"{read_user_name()}@{socket.gethostname()}"
