"""Start programs from a small process, and say what each took; run as a script, by `laboratory.py`.

A program's peak memory begins at the memory of the process that starts it, so this one imports next to nothing. Each
line of standard input is a Python literal: (command, folder, environment); each answer is one of
(exit code, CPU seconds, wall seconds, peak MiB). CPU is that of the program and of all processes it waited for.
"""

import os
import sys
import time


def launch(command: list[str], folder: str, environment: dict[str, str]) -> tuple[int, float, float, float]:
    """Run *command* in *folder*, its output going nowhere, and return what it took."""
    os.chdir(folder)
    nowhere = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
    ]
    began = time.perf_counter()
    process = os.posix_spawn(command[0], command, environment, file_actions=nowhere)
    _, status, usage = os.wait4(process, 0)
    took = time.perf_counter() - began
    return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, took, usage.ru_maxrss / 1024


def main() -> None:
    for line in sys.stdin:
        print(launch(*eval(line)), flush=True)  # what our own benchmark wrote


if __name__ == "__main__":
    main()
