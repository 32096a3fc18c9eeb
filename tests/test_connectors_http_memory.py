"""What a worker takes of the memory of its machine, whatever a partner answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Place
from tests.servers.http import Asked, Reply, Server

pytestmark = [pytest.mark.slow, pytest.mark.thorough]

SIZE = 30 << 20  # bytes of an answer
MOST = 550_000_000  # bytes of memory, of which the profile store may take nearly all

# What Python imports when it starts: the profile store takes half of the memory that is installed.
SMALL_MACHINE = """
import os
known = os.sysconf
os.sysconf = lambda name: (1 << 30) // known("SC_PAGE_SIZE") if name == "SC_PHYS_PAGES" else known(name)
"""

MEASURE = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, done.stdout, done.stderr)
"""


def full(start: bytes, item: bytes, end: bytes) -> bytes:
    """Return *start*, as many times *item* as make 30 MiB, and *end*."""
    return start + item * (SIZE // len(item)) + end


Answer = Callable[[int], bytes]

# Made when they are needed, by the number of the page, from 1.
ANSWERS: dict[str, tuple[Answer, dict[str, Any]]] = {
    "empty objects": (lambda _: full(b"[", b"{},", b"{}]"), {"rows": "."}),
    "numbers": (lambda _: full(b"[", b"1,", b"1]"), {"rows": "."}),
    "empty lists": (lambda _: full(b"[", b"[],", b"[]]"), {"rows": "."}),
    "texts": (lambda _: full(b"[", b'"",', b'""]'), {"rows": "."}),
    "deep": (lambda _: full(b"[", b"[" * 120 + b"]" * 120 + b",", b"1]"), {"rows": "."}),
    "deep objects": (lambda _: full(b"[", b'{"a":' * 120 + b"1" + b"}" * 120 + b",", b"1]"), {"rows": "."}),
    "one large record": (lambda _: full(b'[{"id": [', b"{},", b"{}]}]"), {"rows": "."}),
    "one large text": (lambda _: full(b'[{"id": "', "\U0001f600".encode(), b'"}]'), {"rows": "."}),
    "records of a megabyte": (lambda _: full(b"[", b'{"id": [' + b"[[]]," * 200_000 + b"1]},", b"1]"), {"rows": "."}),
    "blanks": (lambda _: full(b"[", b" ", b"]"), {"rows": "."}),
    "beside the rows": (lambda _: full(b'{"more": [', b"{},", b'{}], "rows": []}'), {"rows": "rows"}),
    "keys": (lambda _: full(b'{"a": 1', b',"b": {}', b', "rows": []}'), {"rows": "rows"}),
    "the cursor": (
        lambda _: full(b'{"next": [', b"{},", b'{}], "rows": []}'),
        {"rows": "rows", "paging": {"type": "next_link", "path": "next"}},
    ),
    "people": (
        lambda page: b'{"rows": [%s]}'
        % b",".join(b'{"id": "%d-%d", "note": "%s"}' % (page, n, b"x" * 60) for n in range(SIZE // 90))
        if page < 4
        else b'{"rows": []}',
        {"rows": "rows", "paging": {"type": "page", "parameter": "page"}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_no_answer_takes_much_memory(
    name: str, place: Place, http_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, settings = ANSWERS[name]
    place.write("start/sitecustomize.py", SMALL_MACHINE)
    monkeypatch.setenv("PYTHONPATH", str(place.folder / "start"))

    def act(asked: Asked) -> Reply:
        return Reply(body=answer(int(asked.query.get("page", "1"))))

    http_server.act = act
    place.write("profile.yaml", "properties: {id: {type: text, identifier: true}, note: {type: text}}\n")
    source = json.dumps({"type": "http", "url": http_server.url(), **settings})
    place.write(
        "connections/people.yaml",
        f"schedule: {{type: manual}}\nimport:\n  from: {source}\n  match: [id]\n  fields: {{id: id, note: note}}\n",
    )
    program = [sys.executable, "-P", "-m", "connrunner", "run", "people", "--workspace", str(place.folder)]
    done = subprocess.run([sys.executable, "-c", MEASURE, *program], capture_output=True, text=True, check=True)
    taken, said = done.stdout.split(maxsplit=1)
    assert "people #1" in said
    assert "bug" not in said
    assert int(taken) < MOST, said
