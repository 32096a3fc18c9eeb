"""A real MariaDB on this machine, in strict mode or without, as its `sql_mode` says."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pymysql

PASSWORD = "correct horse battery"
PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


def missing() -> str:
    """Return what is missing here to run a server; an empty text for nothing."""
    programs = ("mariadbd", "mariadb-install-db")
    return next((name for name in programs if shutil.which(name, path=PLACES) is None), "")


class Server:
    """A MariaDB that listens on 127.0.0.1, and knows `owner`, who needs a password and owns the database `crm`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        data = folder / "data"
        user = "--user=root" if os.getuid() == 0 else "--user="
        make = [shutil.which("mariadb-install-db", path=PLACES) or "", "--no-defaults", f"--datadir={data}"]
        make += ["--auth-root-authentication-method=normal", "--skip-test-db"]
        done = subprocess.run([*make, *([user] if user.endswith("root") else [])], capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stdout.decode() + done.stderr.decode())
        settings = (
            f"--datadir={data}",
            f"--socket={folder / 'socket'}",
            f"--pid-file={folder / 'pid'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--character-set-server=utf8mb4",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=16M",
            "--innodb-log-file-size=8M",
            "--default-time-zone=+02:00",  # whoever takes its clock for UTC is found out
        )
        self._log = (folder / "log").open("wb")
        command = [shutil.which("mariadbd", path=PLACES) or "", "--no-defaults", *settings]
        self._process = subprocess.Popen(
            [*command, *([user] if user.endswith("root") else [])], stdout=self._log, stderr=self._log
        )
        while True:
            try:
                self.connect(user="root", password="", database=None).close()
            except pymysql.err.OperationalError:
                if self._process.poll() is not None:
                    raise RuntimeError((folder / "log").read_text()) from None
                time.sleep(0.05)
            else:
                return

    def connect(
        self, *, user: str = "owner", password: str = PASSWORD, database: str | None = "crm"
    ) -> pymysql.Connection[pymysql.cursors.Cursor]:
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user=user, password=password, database=database, autocommit=True
        )

    def root(self, *statements: str) -> None:
        """Execute the *statements* as the administrator."""
        with self.connect(user="root", password="", database=None) as made, made.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def set_mode(self, mode: str) -> None:
        """Give every new connection the *mode*: `sql_mode` of the server."""
        self.root(f"SET GLOBAL sql_mode = '{mode}'")

    @property
    def url(self) -> str:
        return f"mysql+pymysql://owner@127.0.0.1:{self.port}/crm"

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._log.close()


@contextmanager
def running() -> Iterator[Server]:
    """Run a server that has an empty database `crm`."""
    folder = Path(tempfile.mkdtemp(prefix="connrunner-mariadb-"))
    try:
        server = Server(folder)
        try:
            server.root(
                "CREATE DATABASE crm CHARACTER SET utf8mb4",
                f"CREATE USER owner@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'",
                "GRANT ALL ON crm.* TO owner@'127.0.0.1'",
            )
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def empty(server: Server) -> None:
    """Empty the database `crm`."""
    server.root("DROP DATABASE crm", "CREATE DATABASE crm CHARACTER SET utf8mb4")
