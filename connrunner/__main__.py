"""The command `connrunner`: a tick with nothing to do, and the version, end here, before anything is imported."""

import atexit
import gc
import os
import sys

from connrunner import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

UNAVAILABLE = 69  # EX_UNAVAILABLE of sysexits.h: no other outcome of any command has this code


def main() -> int:
    """Run the command line; return its exit code."""
    if sys.platform != "linux":  # first of all: elsewhere what follows fails at an import of fcntl or pwd
        advice = "use a machine or a container with Linux"
        sys.stderr.write(f"error: connrunner needs Linux, this is {sys.platform}; {advice}\n")
        return UNAVAILABLE
    if sys.argv[1:] in (["--version"], ["-V"]):
        sys.stdout.write(f"connrunner {__version__}\n")
        return 0
    if sys.argv[1:2] != ["tick"]:
        from connrunner.cli import command_line

        return command_line.main()
    from connrunner.scheduler import idle

    if idle.nothing_to_do(sys.argv[2:]):
        return 0
    options = idle.read_options(sys.argv[2:])
    if options is None or any(map(os.path.isfile, filter(None, options))):
        from connrunner.cli import command_line

        return command_line.main()
    from connrunner.cli import plain_tick

    return plain_tick.run_tick(*options)


def run() -> "NoReturn":
    """Run the command line as the whole process: spend no time on what ends with it."""
    gc.set_threshold(100_000)  # what is imported stays: looking through it for what is gone takes long
    code = main()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # closed, or nobody reads it: Python has its way to end then
        sys.exit(code)
    if "threading" in sys.modules and len(sys._current_frames()) > 1:
        sys.exit(code)
    atexit._run_exitfuncs()
    # Taking the interpreter apart is a fifth of a tick with nothing to do, and more of what has imported more.
    os._exit(code)


if __name__ == "__main__":
    run()
