"""How much memory DuckDB is given: half of what there is, by the control group or the machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import duckdb
import pytest

from connrunner.profiles.memory_limit import choose_memory_limit

INSTALLED = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
NONE = str((1 << 63) - 4096)  # what version 1 says where there is no limit
V2 = "0::/pod/worker\n"
V1 = "9:name=systemd:/\n4:cpu,memory:/box/job\n0::/\n"


@pytest.mark.parametrize(
    ("groups", "files", "limit"),
    [
        pytest.param(V2, {"memory.max": "max"}, INSTALLED // 2, id="none"),
        pytest.param(V2, {"pod/worker/memory.max": "268435456"}, 128 << 20, id="its-own"),
        pytest.param(V2, {"pod/worker/memory.max": "max", "pod/memory.max": "104857600"}, 50 << 20, id="above"),
        pytest.param("0::/\n", {"memory.max": "536870912"}, 256 << 20, id="container"),
        pytest.param("0::/../elsewhere\n", {"memory.max": "536870912"}, 256 << 20, id="another-root"),
        pytest.param(V1, {"memory/memory.limit_in_bytes": NONE}, INSTALLED // 2, id="version-1-none"),
        pytest.param(V1, {"memory/box/memory.limit_in_bytes": "209715200"}, 100 << 20, id="version-1-above"),
        pytest.param(None, {}, INSTALLED // 2, id="not-linux"),
    ],
)
def test_half_of_what_this_process_may_have(
    tmp_path: Path, groups: str | None, files: Mapping[str, str], limit: int
) -> None:
    if groups is not None:
        write(tmp_path / "proc/self/cgroup", groups)
    for name, text in files.items():
        write(tmp_path / "sys/fs/cgroup" / name, f"{text}\n")
    assert choose_memory_limit(tmp_path) == f"{limit >> 20}MiB"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_duckdb_takes_it_on_this_machine() -> None:
    with duckdb.connect(config={"memory_limit": choose_memory_limit()}) as connection:
        assert connection.execute("SELECT current_setting('memory_limit')").fetchone() is not None
