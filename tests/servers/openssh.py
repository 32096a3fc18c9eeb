"""OpenSSH's own server on this machine: the one that most partners run."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh

PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/usr/libexec"])
_SEPARATION = Path("/run/sshd")  # where Debian's server, started by root, keeps its unprivileged part


def missing() -> str:
    """Return what is missing here to run a server; an empty text for nothing."""
    return "" if shutil.which("sshd", path=PLACES) else "sshd"


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that knows one user, by a key, and shows the folder *root*."""

    port: int
    username: str
    key: str  # the text of the user's private key
    host_key: str
    root: Path


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """Run sshd with all that it needs in *folder*."""
    root = folder / "files"
    root.mkdir(parents=True)
    host, user = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    host.write_private_key(folder / "host")
    (folder / "host").chmod(0o600)
    user.write_public_key(folder / "users")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "users",
        "StrictModes": "no",  # the folder of a test may be below one that others write into
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "yes",
        "PidFile": "none",
        "Subsystem": f"sftp internal-sftp -d {root}",
    }
    (folder / "config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    if os.getuid() == 0:
        _SEPARATION.mkdir(mode=0o755, exist_ok=True)
    command = [shutil.which("sshd", path=PLACES) or "", "-D", "-e", "-f", str(folder / "config")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            _wait_for(port, process, folder / "log")
            yield Server(
                port=port,
                username=getpass.getuser(),
                key=user.export_private_key().decode(),
                host_key=host.get_fingerprint(),
                root=root,
            )
        finally:
            process.terminate()
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if process.poll() is not None:
                raise RuntimeError(log.read_text()) from None
            time.sleep(0.05)
        else:
            return
