"""The library for Zstandard: a part of Python from 3.14 on, an extra before."""

from __future__ import annotations

import sys
from types import ModuleType

from connrunner.errors import RunError


def load_zstd() -> ModuleType:
    """Return the module. RunError when it is not installed."""
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError:
        raise RunError(
            "files compressed with Zstandard need the extra `zstd`",
            hint="pip install 'connrunner[zstd]', or use gzip",
            code="missing-extra",
        ) from None
    return zstd
