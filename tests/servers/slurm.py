"""As much of Slurm as runs meet: its commands, as one program under several names, over a folder of jobs."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAM = """\
#!{python} -S
import fcntl, json, os, signal, subprocess, sys, time
from pathlib import Path

home = Path({home!r})
name, arguments = Path(sys.argv[0]).name, sys.argv[1:]
options = dict(one[2:].partition("=")[::2] for one in arguments if one.startswith("--"))
said = json.loads((home / "world.json").read_text())
if name in said.get("away", ()) or "*" in said.get("away", ()):
    sys.exit("slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
if name in said.get("refused", {{}}):
    sys.exit(said["refused"][name])

def jobs():
    for path in sorted(home.glob("job-*.json")):
        job = json.loads(path.read_text())
        end = path.with_suffix(".end")
        if job["state"] == "RUNNING" and end.exists() and end.read_text() and job["node"] not in said.get("down", ()):
            code = int(end.read_text())
            job["state"] = "CANCELLED" if job.get("cancelled") else "COMPLETED" if code == 0 else "FAILED"
            if path.with_suffix(".oom").exists():
                job["state"] = "OUT_OF_MEMORY"
            job["code"] = f"0:{{-code}}" if code < 0 else f"{{code}}:0"
        yield path, job

if name == "sbatch":
    script = sys.stdin.read()
    with open(home / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        number = len(list(home.glob("job-*.json"))) + 1
        path = home / f"job-{{number}}.json"
        job = {{"number": str(number), "name": options["job-name"], "state": "PENDING", "node": "", "asked": options}}
        (home / f"job-{{number}}.sh").write_text(script)
        os.chmod(home / f"job-{{number}}.sh", 0o700)
        if not said.get("pending"):
            job |= {{"state": "RUNNING", "node": "n1"}}
            runner = (
                "import os, subprocess, sys; out = open(sys.argv[2], 'ab');"
                "p = subprocess.Popen(['/bin/sh', sys.argv[1]], stdout=out, stderr=out, stdin=subprocess.DEVNULL);"
                "open(sys.argv[3] + '.pid', 'w').write(str(p.pid)); code = p.wait();"
                "open(sys.argv[3] + '.new', 'w').write(str(code)); os.replace(sys.argv[3] + '.new', sys.argv[3])"
            )
            kept = {{key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}}
            process = subprocess.Popen(
                [sys.executable, "-c", runner, str(home / f"job-{{number}}.sh"), options["output"], str(path.with_suffix(".end"))],
                start_new_session=True, env=kept, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            job["session"] = process.pid
        path.write_text(json.dumps(job))
    if said.get("lost_answer"):
        sys.exit("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation")
    print(number)
elif name == "squeue":
    for path, job in jobs():
        if job["state"] in ("PENDING", "RUNNING"):
            reason = said.get("pending") or "None"
            print("|".join((job["number"], job["name"], job["state"], job["node"], reason if job["state"] == "PENDING" else "None")))
elif name == "scontrol" and arguments == ["show", "config"]:
    print("ProctrackType           = " + said.get("proctrack", "proctrack/linuxproc"))
elif name == "scontrol":
    for path, job in jobs():
        if job["number"] == arguments[-1] and not said.get("forgotten"):
            print(f"JobId={{job['number']}} JobName={{job['name']}} JobState={{said.get('state') or job['state']}} ExitCode={{job.get('code', '0:0')}} NodeList={{job['node'] or '(null)'}}")
            break
    else:
        sys.exit("slurm_load_jobs error: Invalid job id specified")
elif name == "scancel":
    for path, job in jobs():
        if arguments[-1] in (job["number"], f"--name={{job['name']}}"):
            if job["state"] == "PENDING":
                path.write_text(json.dumps(job | {{"state": "CANCELLED"}}))
            elif job["state"] == "RUNNING":
                number = signal.SIGTERM if options.get("signal") == "TERM" else signal.SIGKILL
                if number == signal.SIGKILL:
                    path.write_text(json.dumps(job | {{"cancelled": True}}))
                pid = int(Path(str(path.with_suffix(".end")) + ".pid").read_text())
                if number == signal.SIGKILL:
                    for one in Path("/proc").iterdir():  # proctrack/cgroup: all that is in it
                        try:
                            if one.name.isdigit() and ("CONNRUNNER_RUN_ID=" in (one / "environ").read_text(errors="replace")) and job["name"].rpartition("-")[2] in (one / "environ").read_text(errors="replace"):
                                os.kill(int(one.name), number)
                        except OSError:
                            pass
                try:
                    os.kill(pid, number)
                except OSError:
                    pass
elif name == "sinfo" and options["format"] == "%a %D":
    print("up 2")
elif name == "sinfo":
    print("down*" if options.get("nodes") in said.get("down", ()) else "mixed")
else:
    sys.exit("sacct: error: Slurm accounting storage is disabled")
"""


class Slurm:
    """A folder of jobs, with the commands in `bin`."""

    def __init__(self, folder: Path) -> None:
        self.home, self.bin = folder / "slurm", folder / "slurm/bin"
        self.bin.mkdir(parents=True)
        self.say()
        for name in ("sbatch", "squeue", "scontrol", "scancel", "sinfo", "sacct"):
            program = self.bin / name
            program.write_text(PROGRAM.format(python=sys.executable, home=str(self.home)))
            program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def say(self, **world: object) -> None:
        """Say how the world is: `away` and `refused` commands, `pending` for a reason, nodes that are `down`."""
        (self.home / "world.new").write_text(json.dumps(world))
        (self.home / "world.new").replace(self.home / "world.json")

    def jobs(self) -> list[dict[str, object]]:
        return [json.loads(path.read_text()) for path in sorted(self.home.glob("job-*.json"))]

    def kill_all(self) -> None:
        for job in self.jobs():
            with suppress(OSError):
                os.killpg(int(str(job["session"])), signal.SIGKILL) if "session" in job else None


@contextmanager
def serving(folder: Path) -> Iterator[Slurm]:
    slurm = Slurm(folder)
    try:
        yield slurm
    finally:
        slurm.kill_all()
