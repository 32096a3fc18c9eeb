"""How fast secrets are looked for in ordinary log text: MB/s of the whole text at once, and of its lines one by one."""

from __future__ import annotations

import json
import random
import string
import time

from connrunner.text.masking import Masker

LINES = 40_000
ENOUGH = 200  # MB/s
WORDS = (
    "request received from host connection established user session timeout retry warning error processing batch rows "
    "imported finished started GET POST /api/v1/customers?page=3&size=50 status=200 duration_ms=14 50% done"
).split()


def main() -> None:
    chance = random.Random(1)
    text = "".join(_line(number, chance) for number in range(LINES))
    lines = text.split("\n")
    letters = string.ascii_letters + string.digits
    tokens = ["".join(chance.choices(letters, k=32)) for _ in range(20)]
    account = {"type": "service_account", "private_key": "-----BEGIN-----\n" + "\n".join(tokens), "id": tokens[0]}
    for name, secrets in {
        "no secret": [],
        "a token": tokens[:1],
        "a token and a password": [tokens[0], "pa&ss/w'0rd!longenough"],
        "a database's URL": ["postgresql://connrunner:hunter2hunter2@db.example.com/crm"],
        "5 tokens": tokens[:5],
        "20 tokens": tokens,
        "a service account": [json.dumps(account)],
    }.items():
        begin = time.process_time()
        masker = Masker(secrets)
        masker.mask("\\u0026")
        made = time.process_time() - begin
        whole = _speed(text, lambda masker=masker: masker.mask(text))
        each = _speed(text, lambda masker=masker: [masker.mask(line) for line in lines])
        print(f"{name:24} {whole:6,.0f} MB/s whole, {each:6,.0f} MB/s line by line, made in {made * 1000:.1f} ms")


def _line(number: int, chance: random.Random) -> str:
    at = f"2026-03-{number % 28 + 1:02}T{number % 24:02}:{number % 60:02}:{number * 7 % 60:02}.{number % 1000:03}Z"
    said = " ".join(chance.choices(WORDS, k=9))
    return f"{at} INFO worker[{number % 9999}]: {said} id={chance.getrandbits(64):x}\n"


def _speed(text: str, work: object) -> float:
    """Return MB/s of the best of two."""
    assert callable(work)
    best = float("inf")
    for _ in range(2):
        begin = time.process_time()
        work()
        best = min(best, time.process_time() - begin)
    return len(text) / best / 1e6


if __name__ == "__main__":
    main()
