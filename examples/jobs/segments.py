"""Put each member of the newsletter audience into a segment: a job that tells connrunner what it did."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections import Counter
from pathlib import Path

OUT = Path("out")
SEGMENTS = OUT / "segments.csv"


def say(**words: object) -> None:
    """Tell connrunner, at once: one JSON object on a line of its own."""
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def segment(value: str, gold: float) -> str:
    return "gold" if float(value or 0) >= gold else "silver" if float(value or 0) >= 100 else "bronze"


def main() -> int:
    exports = list(OUT.glob("newsletter-audience-*.csv"))
    if not exports:
        say(message="there is no audience yet: run newsletter-audience first", level="error")
        return 1
    gold = float(os.environ.get("GOLD_FROM", "500"))
    before = {}
    if SEGMENTS.exists():
        with SEGMENTS.open(newline="", encoding="utf-8") as file:
            before = {row["Email"]: row["Segment"] for row in csv.DictReader(file)}

    counts: Counter[str] = Counter()
    after = {}
    # Each export holds what changed, so a later one wins.
    for path in sorted(exports, key=lambda path: int(path.stem.rpartition("-")[2])):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                counts["read"] += 1
                if not row["Email"]:
                    counts["filtered"] += 1
                    continue
                counts["duplicate"] += row["Email"] in after
                after[row["Email"]] = segment(row["LifetimeValue"], gold)
    for email, name in after.items():
        counts["created" if email not in before else "unchanged" if before[email] == name else "updated"] += 1

    beside = SEGMENTS.with_suffix(".part")
    with beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["Email", "Segment"])
        writer.writerows(sorted(after.items()))
    beside.replace(SEGMENTS)  # readers see the old file or the new one

    sizes = ", ".join(f"{size} {name}" for name, size in Counter(after.values()).most_common())
    say(message=f"{len(after)} people in {SEGMENTS}: {sizes or 'nobody'}")
    say(counts=counts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
