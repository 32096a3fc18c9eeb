"""The library for Zstandard (RFC 8878): a part of Python from 3.14 on, a package of the same interface before."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["zstd"]
