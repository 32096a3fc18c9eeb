"""The command `connrunner`: a tick with nothing to do, and the version, end here, before anything is imported."""

import os
import sys

from connrunner import __version__

UNAVAILABLE = 69  # EX_UNAVAILABLE of sysexits.h: no other outcome of any command has this code


def main(*, is_process: bool = False) -> int:
    """Run the command line; return its exit code. As the whole process, a tick with nothing to do ends it at once."""
    if sys.platform != "linux":  # first of all: elsewhere what follows fails at an import of fcntl or pwd
        advice = "use a machine or a container with Linux"
        sys.stderr.write(f"error: connrunner needs Linux, this is {sys.platform}; {advice}\n")
        return UNAVAILABLE
    if sys.argv[1:] in (["--version"], ["-V"]):
        sys.stdout.write(f"connrunner {__version__}\n")
        return 0
    if sys.argv[1:2] == ["tick"]:
        from connrunner.scheduler import idle

        if idle.nothing_to_do(sys.argv[2:]):
            if is_process:
                os._exit(0)  # nothing is open or buffered, and taking the interpreter apart is a fifth of such a tick
            return 0
    from connrunner import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main(is_process=True))
