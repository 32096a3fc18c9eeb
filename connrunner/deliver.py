"""`python -m connrunner.deliver`: a tick of 0.1 in a half-upgraded installation sends mail so. Goes with 0.3."""

import sys

from connrunner.messenger.mailer import main

if __name__ == "__main__":
    sys.exit(main())
