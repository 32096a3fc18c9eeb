"""What a program prints on its way into the run's log."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connrunner.core.counts import Counts
from connrunner.processes import output
from connrunner.processes.output import ENVELOPE, LINE, MARGIN, Output

SECRET = "s3cret-0123456789-abcdefghij"


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str]] = []  # level, stream, text

    def message(self, text: str, *, level: str = "info", **facts: Any) -> None:
        self.lines.append((level, facts.get("stream", ""), text))

    def progress(self, stage: str, done: int, of: int | None = None) -> None: ...

    @property
    def texts(self) -> list[str]:
        return [text for _, _, text in self.lines]


def told(*pieces: tuple[str, bytes], mask: Callable[[str], str] = str) -> tuple[Output, Log]:
    log = Log()
    taken = Output(mask=mask, report=log)
    for stream, data in pieces:
        taken.feed(stream, data)
    taken.finish()
    return taken, log


def hide(text: str) -> str:
    return text.replace(SECRET, "***")


LINES = [
    (b"", []),
    (b"one\n", ["one"]),
    (b"one\ntwo", ["one", "two"]),
    (b"one\r\ntwo\r\n", ["one", "two"]),
    (b"\n\none\n\n", ["one"]),
    (b"10%\r20%\r100%\n", ["10%\r20%\r100%"]),
    ("a\u2028b\x0bc\x85d\n".encode(), ["a\u2028b\x0bc\x85d"]),  # only a line feed ends a line
    (b"\x1b[31mred\x1b[0m\n", ["\x1b[31mred\x1b[0m"]),  # shown or not: whoever shows it decides
    (b"\x00\xff\xfe\n", ["\x00\\xff\\xfe"]),
    ("żółw\n".encode(), ["żółw"]),
    ("żółw\n".encode("iso8859-2"), ["\\xbf\\xf3\\xb3w"]),
    (b"x" * LINE + b"\n", ["x" * LINE]),
    (b"x" * (LINE + 1) + b"\n", ["x" * LINE + " [cut: the line is longer than 8192 bytes]"]),
    (b"x" * 1_000_000, ["x" * LINE + " [cut: the line is longer than 8192 bytes]"]),
]


@pytest.mark.parametrize(("data", "texts"), LINES, ids=range(len(LINES)))
@pytest.mark.parametrize("piece", [1, 7, 4096, 1 << 20])
def test_lines(data: bytes, texts: list[str], piece: int) -> None:
    if piece == 1 and len(data) > LINE * 2:
        piece = 999
    _, log = told(*(("stdout", data[start : start + piece]) for start in range(0, len(data), piece)))
    assert log.lines == [("info", "stdout", text) for text in texts]


def test_streams_do_not_mix() -> None:
    _, log = told(("stdout", b"out "), ("stderr", b"err "), ("stdout", b"one\n"), ("stderr", b"two\n"))
    assert log.lines == [("info", "stdout", "out one"), ("info", "stderr", "err two")]


@given(st.binary(max_size=300), st.lists(st.integers(1, 40), min_size=1))
def test_pieces_make_no_difference(data: bytes, sizes: list[int]) -> None:
    pieces: list[tuple[str, bytes]] = []
    start = 0
    while start < len(data):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(("stdout", data[start : start + size]))
        start += size
    assert told(*pieces)[1].lines == told(("stdout", data))[1].lines
    for text in told(("stdout", data))[1].texts:
        json.dumps(text, ensure_ascii=False).encode()  # every text can stand in a log


def test_protocol() -> None:
    taken, log = told(
        ("stdout", b'{"counts": {"created": 1}}\n{"message": "half way", "level": "debug"}\n'),
        ("stderr", b'{"message": "not here"}\n'),
        ("stdout", b'{"counts": {"created": 5, "updated": 2}}\n{"counts": {"created": 6'),
    )
    assert taken.counts == Counts(read=7, checked=7, created=5, updated=2)  # the last complete ones
    assert log.lines == [
        ("debug", "stdout", "half way"),
        ("info", "stderr", '{"message": "not here"}'),
        ("info", "stdout", '{"counts": {"created": 6'),
    ]


def test_misunderstood_lines_stay_and_warn_once() -> None:
    taken, log = told(
        ("stdout", b'{"counts": {"created": 5}}\n{"counts": {"made": 5}}\n{"counts": {"created": -1}}\nlast\n')
    )
    assert taken.counts.created == 5
    (warning,) = [text for level, _, text in log.lines if level == "warning"]
    assert warning.startswith('a line is logged but not understood: unknown counter "made"; there is read, skipped, ')
    assert [text for _, stream, text in log.lines if stream] == [
        '{"counts": {"made": 5}}',
        '{"counts": {"created": -1}}',
        "last",
    ]


LAST_WORDS = [
    # stdout                                             stderr          last message  last complaint
    (b"plain\n", b"", "", ""),
    (b"", b"one\ntwo\n\n", "", "two"),
    (b'{"message": "fine"}\n', b"noise\n", "fine", "noise"),
    (b'{"message": "bad", "level": "error"}\nmore\n', b"", "bad", "bad"),
    (b'{"message": "hm", "level": "warning"}\n', b"", "hm", ""),
]


@pytest.mark.parametrize(("out", "err", "message", "complaint"), LAST_WORDS)
def test_last_words(out: bytes, err: bytes, message: str, complaint: str) -> None:
    taken, _ = told(("stdout", out), ("stderr", err))
    assert (taken.last_message, taken.last_complaint) == (message, complaint)


SECRETIVE = [
    f"key {SECRET}\n",
    f'{{"message": "key {SECRET}"}}\n',
    f'{{"message": "key {SECRET[:-1]}\\u{ord(SECRET[-1]):04x}", "level": "error"}}\n',  # spelled out by JSON
    f'{{"counts": {{"{SECRET}": 1}}}}\n',
    f'{{"counts": {{"created": 1}}, "{SECRET}": 1}}\n',
    f'{{"message": "x", "level": "{SECRET}"}}\n',
    f'{{"counts": {{"{"x" * 270}{SECRET}": 1}}}}\n',  # across the end of the warning
    f"unended {SECRET}",
    *("x" * (LINE - before) + SECRET + "y" * 99 + "\n" for before in range(1, len(SECRET) + 1, 5)),  # across the cut
    *("x" * (LINE + MARGIN - before) + SECRET + "\n" for before in range(1, len(SECRET) + 1, 5)),
    (SECRET + "," * 5) * 1000 + "\n",  # masked texts are shorter, so that what is behind moves up to the cut
]


@pytest.mark.parametrize("text", SECRETIVE, ids=range(len(SECRETIVE)))
def test_no_part_of_a_secret_leaves(text: str) -> None:
    taken, log = told(("stdout", text.encode()), mask=hide)
    said = " ".join([*log.texts, taken.last_message, taken.last_complaint])
    assert SECRET[:12] not in said
    assert "***" in said or len(text) > LINE


@pytest.mark.parametrize("ended", ["\n", ""])
def test_a_secret_longer_than_any_margin_shows_no_beginning(ended: str) -> None:
    key = "0123456789abcdef" * (MARGIN // 8)
    log = Log()
    taken = Output(mask=lambda text: text.replace(key, "***"), report=log, longest_secret=len(key))
    taken.feed("stdout", f"key {key}{ended}".encode())
    taken.finish()
    assert log.texts == [f"key *** [cut: the line is longer than {LINE} bytes]"]


def test_no_secret_leaves_by_the_last_complaint() -> None:
    taken, log = told(("stderr", f"key {SECRET}".encode()), mask=hide)
    assert (log.texts, taken.last_complaint) == (["key ***"], "key ***")


def test_half_a_character_can_be_stored() -> None:
    _, log = told(("stdout", b'{"message": "\\ud800 half"}\n{"message": "x", "level": "\\udfff"}\n'))
    assert log.texts[0] == "\\ud800 half"
    for text in log.texts:
        text.encode()


def overflow(monkeypatch: pytest.MonkeyPatch, *, head: int, tail: int) -> None:
    monkeypatch.setattr(output, "HEAD", head)
    monkeypatch.setattr(output, "TAIL", tail)


@pytest.mark.parametrize("piece", [97, 4096, 1 << 20])
def test_much_output_keeps_the_first_and_the_last(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    overflow(monkeypatch, head=1_000_000, tail=500_000)
    lines = [b"line %06d" % number for number in range(30_000)]
    lines[20_000] = b'{"counts": {"unchanged": 7}}'
    lines[21_000] = b'{"counts": {"unchanged": 8'
    data = b"\n".join(lines)
    taken, log = told(*(("stdout", data[start : start + piece]) for start in range(0, len(data), piece)))
    gap = next(index for index, (level, _, _) in enumerate(log.lines) if level == "warning")
    first, last = log.texts[:gap], log.texts[gap + 1 :]
    assert first == [line.decode() for line in lines[: len(first)]]
    assert len(first) == pytest.approx(1_000_000 / (11 + ENVELOPE), abs=1)
    assert last == [line.decode() for line in lines[-len(last) :]]
    assert len(last) == pytest.approx(500_000 / (11 + ENVELOPE), abs=1)
    gone = lines[len(first) : -len(last)]
    size = len(b"\n".join(gone)) + 1
    assert log.texts[gap].startswith(f"left out here: {len(gone):,} lines, {size:,} bytes; the log holds the first ")
    assert taken.counts.unchanged == 7  # reported where nothing is logged any more
    assert taken.last_complaint == ""


def test_what_is_said_where_nothing_is_logged_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    overflow(monkeypatch, head=300, tail=300)
    noise = b"noise\n" * 100
    said = b'{"counts": {"created": 1}}\n{"message": "bad", "level": "error"}\n{"counts": {"created": 2}}\n'
    pieces = [*([noise] * 3), said[:40], said[40:], *([noise] * 3)]
    taken, log = told(*(("stdout", piece) for piece in pieces))
    assert (taken.counts.created, taken.last_message, taken.last_complaint) == (2, "bad", "bad")
    assert "bad" not in log.texts


def test_one_endless_line_among_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end is kept from the log: what of it would stand there may be half a secret."""
    overflow(monkeypatch, head=300, tail=20_000)
    pieces = [b"one\n" * 3, b"x" * 300_000, b"y" * 300_000, SECRET.encode() + b"\nlast\n"]
    _, log = told(*(("stdout", piece) for piece in pieces), mask=hide)
    assert log.texts[:3] == ["one"] * 3
    assert log.texts[-1] == "last"
    assert SECRET[:8] not in " ".join(log.texts)
    assert max(map(len, log.texts)) < LINE + 100


def test_both_streams_in_what_came_last(monkeypatch: pytest.MonkeyPatch) -> None:
    overflow(monkeypatch, head=300, tail=2_000)
    pieces = [("stdout", b"a%04d\n" % number) for number in range(100)]
    pieces += [("stderr", b"half "), ("stdout", b"out "), ("stderr", b"err\n"), ("stdout", b"end")]
    taken, log = told(*pieces)
    assert log.lines[-2:] == [("info", "stderr", "half err"), ("info", "stdout", "out end")]
    assert taken.last_complaint == "half err"


@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=60)), max_size=60))
def test_whatever_comes_last_is_kept_whole_or_left_out(pieces: list[tuple[str, bytes]]) -> None:
    everything: dict[str, bytes] = {"stdout": b"", "stderr": b""}
    for stream, data in pieces:
        everything[stream] += data
    whole = {stream: set(told((stream, data))[1].texts) for stream, data in everything.items()}
    with pytest.MonkeyPatch.context() as patch:
        overflow(patch, head=400, tail=400)
        _, log = told(*pieces)
    for level, stream, text in log.lines:
        assert level == "warning" or text in whole[stream]


def test_a_little_too_much_leaves_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    overflow(monkeypatch, head=1000, tail=10_000)
    texts = [f"line {number}" for number in range(50)]
    _, log = told(("stdout", "\n\n".join(texts).encode()))
    assert log.texts == texts


def test_what_comes_with_a_line_at_which_a_signal_raises_is_not_lost() -> None:
    class Told(BaseException): ...

    class Once(Log):
        def message(self, text: str, *, level: str = "info", **facts: Any) -> None:
            super().message(text, level=level, **facts)
            if text == "two":
                raise Told

    log = Once()
    taken = Output(mask=str, report=log)
    with pytest.raises(Told):
        taken.feed("stdout", b'one\ntwo\nthree\n{"counts": {"created": 4}}\nfo')
    taken.feed("stdout", b"ur")
    taken.finish()
    assert log.texts == ["one", "two", "three", "four"]
    assert taken.counts.created == 4
