"""What every Python of `make future` imports first: a sleep that lasts as long as it should.

libfaketime of today's Debian hands the deadline of `time.sleep` to the kernel as a negative time when it leaves the
monotonic clock alone, and must leave it alone: it knows nothing of the call by which Python waits for locks.
"""

import os
import select
import time

if os.environ.get("FAKETIME"):

    def sleep(seconds: float) -> None:
        """Wait for *seconds* of real time."""
        select.select([], [], [], seconds)

    time.sleep = sleep  # type: ignore[assignment]  # its parameter has another type
