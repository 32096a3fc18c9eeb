"""Who has a run, in a folder that several machines see: a file that only one of them can make, whole at once."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

CLAIM = "claim"


def claim_folder(folder: Path, holder: str) -> bool:
    """Claim *folder* for *holder*; False when somebody else has it. OSError when that cannot be known.

    A link, for that is whole at once and either made or not on NFS as well (open(2), O_EXCL).
    """
    draft = folder / f".claim-{uuid4().hex}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, holder.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        with suppress(OSError):  # an answer may be lost: what stands there afterwards counts
            os.link(draft, folder / CLAIM)
        return (folder / CLAIM).read_text() == holder
    finally:
        with suppress(OSError):
            draft.unlink()
