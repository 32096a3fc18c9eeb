"""The command `connrunner`: a tick with nothing to do ends here, before anything is imported."""

import sys


def main() -> int:
    """Run the command line; return its exit code."""
    if sys.argv[1:2] == ["tick"]:
        from connrunner.scheduler import idle

        if idle.nothing_to_do(sys.argv[2:]):
            return 0
    from connrunner import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
