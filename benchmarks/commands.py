"""What the commands cost that people type."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial

from benchmarks.laboratory import ROOT, Figure, Laboratory, Measured, Row
from benchmarks.ticks import prepared, workspace

SUBJECT = "Commands"
PLAIN = """
import json, pathlib, sys, jsonschema, referencing, yaml
schemas = {path.name: json.loads(path.read_bytes()) for path in pathlib.Path(sys.argv[2]).glob("*.json")}
resources = [(name, referencing.Resource.from_contents(schema)) for name, schema in schemas.items()]
registry = referencing.Registry().with_resources(resources)
validator = jsonschema.Draft202012Validator(schemas["connection.json"], registry=registry)
for path in pathlib.Path(sys.argv[1]).glob("connections/*.yaml"):
    assert not list(validator.iter_errors(yaml.safe_load(path.read_bytes()))), path
"""


def alone(arguments: Sequence[str], laboratory: Laboratory) -> Measured:
    """A command that needs no workspace."""
    return Measured(ours=laboratory.ratios([laboratory.connrunner, *arguments]))


def about(arguments: Sequence[str], count: int, laboratory: Laboratory) -> Measured:
    """A command about a workspace of *count* connections that a tick has seen."""
    folder = prepared(laboratory, count)
    return Measured(
        ours=laboratory.ratios([laboratory.connrunner, *arguments], folder, rounds=min(laboratory.rounds, 15))
    )


def validate(laboratory: Laboratory) -> Measured:
    """`validate` of 10,000 files with no cache, beside yaml.safe_load and jsonschema with the same schemas."""
    folder = workspace(laboratory, 10_000)
    found, plain = [], []
    for _ in range(3):
        shutil.rmtree(folder / ".connrunner", ignore_errors=True)
        found.append(laboratory.measure([laboratory.connrunner, "validate"], folder))
        command = [laboratory.python, "-c", PLAIN, str(folder), str(ROOT / "schemas")]
        plain.append(laboratory.measure(command, folder))
    pairs = zip(found, plain, strict=True)
    ours = [
        Figure("of the peer", tuple(one.cpu / other.cpu for one, other in pairs)),
        Figure("s", tuple(one.cpu for one in found)),
    ]
    return Measured(ours=ours, peers={"yaml.safe_load and jsonschema": [Figure("s", tuple(one.cpu for one in plain))]})


ROWS: Sequence[Row] = (
    Row(subject=SUBJECT, what="`--version`", goal="<= 1.15x", measure=partial(alone, ["--version"])),
    Row(subject=SUBJECT, what="`--help`", goal="<= 4.5x", measure=partial(alone, ["--help"])),
    Row(subject=SUBJECT, what="`status` of 1", goal="<= 5x", measure=partial(about, ["status"], 1)),
    Row(subject=SUBJECT, what="`status` of 10,000", goal="<= 8x", measure=partial(about, ["status"], 10_000)),
    Row(
        subject=SUBJECT, what="`next NAME` of 10,000", goal="<= 8x", measure=partial(about, ["next", "c00042"], 10_000)
    ),
    Row(
        subject=SUBJECT,
        what="`explain NAME` of 10,000",
        goal="<= 8x",
        measure=partial(about, ["explain", "c00042"], 10_000),
    ),
    Row(subject=SUBJECT, what="`validate` of 10,000 files, cold", goal="<= 0.3 of the peer", measure=validate),
)
