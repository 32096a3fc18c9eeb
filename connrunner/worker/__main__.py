"""`python -m connrunner.worker`: a tick of 0.1 in a half-upgraded installation starts a run so. Goes with 0.3."""

import sys

from connrunner.worker.process import main

sys.exit(main())
