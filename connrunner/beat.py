"""`python -m connrunner.beat`: a tick of 0.1 in a half-upgraded installation sends pings so. Goes with 0.3."""

from connrunner.messenger.pinger import main

if __name__ == "__main__":
    main()
