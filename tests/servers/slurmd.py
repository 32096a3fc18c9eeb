"""A real Slurm of one node on this machine, from Debian's packages `slurm-wlm` and `munge`; only root can start it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd")
CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={home}/munge.socket
CryptoType=crypto/munge
SlurmctldPort={control}
SlurmdPort={node}
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
KillWait=5
SlurmdTimeout=300
SchedulerParameters=sched_min_interval=100000,batch_sched_delay=0
MailProg=/bin/true
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=batch Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:8
"""


def why_not() -> str:
    """Return why it cannot be started here; empty when it can."""
    lacking = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if lacking:
        return f"there is no {', '.join(lacking)} (Debian: apt-get install slurm-wlm munge)"
    return "" if os.getuid() == 0 else "only root can start slurmd"


@contextmanager
def serving() -> Iterator[Path]:
    """Yield the configuration of a Slurm that takes jobs; its processes end with the block."""
    home = Path(tempfile.mkdtemp(prefix="slurm-", dir="/var/tmp"))  # munged refuses a path that others can write to
    processes: list[subprocess.Popen[bytes]] = []
    environment = {**os.environ, "SLURM_CONF": str(home / "slurm.conf"), "PATH": f"{os.environ['PATH']}:/usr/sbin"}

    def start(*command: str) -> None:
        log = (home / f"{Path(command[0]).name}.out").open("wb")
        with log:
            processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True))

    try:
        for name in ("state", "spool"):
            (home / name).mkdir()
        key = home / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        host = socket.gethostname().partition(".")[0]
        conf = CONF.format(home=home, host=host, control=_port(), node=_port(), cpus=os.cpu_count())
        (home / "slurm.conf").write_text(conf)
        files = (f"--{part}-file={home}/munge.{part}" for part in ("key", "pid", "log", "seed"))
        start("munged", "--foreground", "--force", f"--socket={home}/munge.socket", *files)
        _wait(lambda: (home / "munge.socket").exists(), home)
        start("slurmctld", "-D", "-f", str(home / "slurm.conf"))
        start("slurmd", "-D", "-f", str(home / "slurm.conf"), "-N", host)
        _wait(lambda: b"idle" in _ask(environment, "sinfo", "--noheader", "--format=%T"), home)
        yield home / "slurm.conf"
    finally:
        with suppress(OSError, subprocess.SubprocessError):
            _ask(environment, "scancel", "--me", "--signal=KILL", "--full")
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(home, ignore_errors=True)


def _ask(environment: dict[str, str], *command: str) -> bytes:
    return subprocess.run(command, env=environment, capture_output=True, check=False, timeout=60).stdout


def _wait(condition: object, home: Path) -> None:
    until = time.monotonic() + 120
    while not condition():  # type: ignore[operator]
        logs = {path.name: path.read_text(errors="replace")[-600:] for path in home.glob("*.out")}
        assert time.monotonic() < until, logs
        time.sleep(0.2)


def _port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
