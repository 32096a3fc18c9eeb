"""The small rules that every room shares: each is a table here, and stands in one place of the source."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from connrunner.text import durations, words
from connrunner.text.files import replace_file, replacing
from connrunner.text.hosts import is_link_local, is_loopback

# --- durations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("1s", 1), ("90s", 90), ("15m", 900), ("6h", 21_600), ("2d", 172_800), ("999999d", 86_399_913_600)],
)
def test_a_written_duration(text: str, seconds: int) -> None:
    assert durations.parse(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "s", "5", "-5m", "1.5h", "5 m", "5m\n", "5w", "5M", "1_0s", "٣s", "1000000s"]
)
def test_what_is_not_a_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        durations.parse(text)


WORDS = [
    # words               seconds  text
    (durations.in_words,     0.04, "0.0 s"),
    (durations.in_words,     0.44, "0.4 s"),
    (durations.in_words,     9.96, "10.0 s"),
    (durations.in_words,     12.3, "12 s"),
    (durations.in_words,     59.6, "1 min 00 s"),
    (durations.in_words,      185, "3 min 05 s"),
    (durations.in_words,     3725, "1 h 02 min"),
    (durations.in_words,   86_399, "23 h 59 min"),
    (durations.in_words,  100_000, "1 d 03 h"),
    (durations.in_words,       -1, "0.0 s"),
    (durations.roughly,       0.9, "0 s"),
    (durations.roughly,       119, "119 s"),
    (durations.roughly,     2_400, "40 min"),
    (durations.roughly,     7_200, "2 h"),
    (durations.roughly, 1_000 * 86_400, "1,000 days"),
    (durations.exactly,        90, "90 s"),
    (durations.exactly,       900, "15 min"),
    (durations.exactly,     5_400, "90 min"),
    (durations.exactly,   172_800, "2 d"),
    (durations.in_minutes,    119, "1 min 59 s"),
    (durations.in_minutes, 86_400, "1,440 min"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "seconds", "text"), WORDS)
def test_a_duration_in_words(words: Callable[[float], str], seconds: float, text: str) -> None:
    assert words(seconds) == text


# --- hosts -------------------------------------------------------------------------------------------------------

HERE = [
    *("localhost", "LocalHost", "127.0.0.1", "127.1.2.3", "127.255.255.255", "::1", "[::1]", "0:0:0:0:0:0:0:1"),
    *("::1%lo", "::ffff:127.0.0.1", "[::ffff:7f00:1]"),
]
ELSEWHERE = [
    *("", " ", "127.evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "127-0-0-1.example"),
    *("LOCALHOST.", "localhost.", "127.1", "127", "2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1", "127.0.0.1 "),
    *("0.0.0.0", "::", "::2", "10.0.0.1", "1127.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0", "[fe80::1%eth0]"),
    *("[127.0.0.1]", "[localhost]", "::1]", "127.0.0.1:80", "[::1]:80", "\u0661\u0662\u0667.0.0.1", "ⓛocalhost"),
]


@pytest.mark.parametrize("host", [*HERE, *ELSEWHERE])
def test_is_a_host_this_machine(host: str) -> None:
    assert is_loopback(host) is (host in HERE)


LINK_LOCAL = [
    *("169.254.169.254", "169.254.0.1", "fe80::1", "febf::1", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"),
    *("100.100.100.200", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::169.254.169.254"),
    *("fe80::1%eth0", "[fe80::1]", "168.63.129.16", "192.0.0.192", "::ffff:168.63.129.16", "::ffff:0:169.254.169.254"),
    # Teredo (RFC 4380): its client's address is written inverted; its server's is not.
    *("2001:0:4136:e378:8000:63bf:5601:5601", "2001:0:a9fe:a9fe:8000:63bf:3fff:fdd2"),
    # What a network of one's own makes of IPv4 (RFC 8215): prefixes of 96, 64, 56 and 48 bits.
    *("64:ff9b:1::a9fe:a9fe", "64:ff9b:1:0:a9:fea9:fe00:0", "64:ff9b:1:a9:fe:a9fe::", "64:ff9b:1:a9fe:a9:fe00::"),
    *("64:ff9b:1:fffe::a9fe:a9fe", "64:ff9b:1::a83f:8110"),
]
ROUTED = [
    *("127.0.0.1", "::1", "10.0.0.1", "169.253.255.255", "::ffff:10.0.0.1", "fd00::1", "2001:db8::1", "fec0::1"),
    *(
        "",
        "169.254.evil.example",
        "168.63.129.17",
        "192.0.0.193",
        "64:ff9b:1::a00:1",
        "64:ff9b:1::",
        "64:ff9b::808:808",
    ),
    *("2001:0:4136:e378:8000:63bf:3fff:fdd2", "2002:a00:1::1", "64:ff9c:1::a9fe:a9fe"),
]


@pytest.mark.parametrize("host", [*LINK_LOCAL, *ROUTED])
def test_is_a_host_link_local(host: str) -> None:
    assert is_link_local(host) is (host in LINK_LOCAL)


# --- one printable line ------------------------------------------------------------------------------------------

LINES = [
    # text                            limit  line
    ("plain words",                    None, "plain words"),
    ("a\x1b[31mb\r\n\tc\u2028d  e",     20, "a [31mb c d e"),
    (" \x85a\x9b2J\x7f ",               None, "a 2J"),
    ("right\u202eleft\u2066\u061c\ufeff", None, "right left"),
    ("a\u00a0b\u200dc\ue000d\udc80e",    None, "a b c d e"),
    ("",                                  3, ""),
    ("abcdef",                            6, "abcdef"),
    ("abcdefg",                           6, "abcdef..."),
    ("x" * 10_000_000,                    5, "xxxxx..."),
]  # fmt: skip


@pytest.mark.parametrize(("text", "limit", "line"), LINES, ids=range(len(LINES)))
def test_one_line(text: str, limit: int | None, line: str) -> None:
    assert words.one_line(text, limit) == line


def test_what_is_cut_off_shows() -> None:
    assert words.one_line("abcdef", 4, more="…") == "abcd…"
    assert words.one_line("abcdef", 4, more="") == "abcd"


def test_languages_keep_what_joins_their_letters_in_a_mail() -> None:
    persian = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \U0001f469\u200d\U0001f469"
    assert words.one_line(persian, is_safe=words.is_safe_in_mail) == persian
    assert words.one_line("a\u202eb\u061cc\ufeffd\x9be", is_safe=words.is_safe_in_mail) == "a b c d e"


def test_replacing_keeps_every_column() -> None:
    text = "a\tb\x1bc\u202ed\n"
    assert words.replace_unsafe(text, keep="\t") == "a\tb\ufffdc\ufffdd\ufffd"
    assert words.replace_unsafe("nbsp\u00a0\x00", is_safe=words.is_safe_in_terminal) == "nbsp\u00a0\ufffd"


def test_escaping() -> None:
    assert words.escape("a\x1bb\u202e\udc80é") == "a\\x1bb\\u202e\\udc80é"


# --- files -------------------------------------------------------------------------------------------------------


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "page"
    replace_file(path, b"old")
    reader = path.open("rb")
    replace_file(path, b"new", mode=0o644)
    assert (reader.read(), path.read_bytes(), names(tmp_path)) == (b"old", b"new", ["page"])
    assert path.stat().st_mode & 0o777 == 0o644
    reader.close()


def write_by_name(path: Path, data: bytes, suffix: str = "") -> None:
    with replacing(path, suffix=suffix) as new:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)


def test_a_file_is_ours_alone_unless_it_is_said_otherwise(tmp_path: Path) -> None:
    replace_file(tmp_path / "page", b"secret")
    assert (tmp_path / "page").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("by_name", [False, True])
def test_a_link_beside_it_is_not_written_through(tmp_path: Path, *, by_name: bool) -> None:
    (tmp_path / "victim").write_bytes(b"secret")
    (tmp_path / ".page.new").symlink_to(tmp_path / "victim")
    if by_name:
        write_by_name(tmp_path / "page", b"data", "new")
    else:
        replace_file(tmp_path / "page", b"data", suffix="new")
    assert (tmp_path / "victim").read_bytes() == b"secret"
    assert (tmp_path / "page").read_bytes() == b"data"
    assert names(tmp_path) == ["page", "victim"]


@pytest.mark.parametrize("failing", ["write", "fsync"])
def test_after_an_error_the_old_file_is_there_alone(
    tmp_path: Path, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    replace_file(tmp_path / "page", b"old")
    monkeypatch.setattr(os, failing, full)
    with pytest.raises(OSError, match="No space"):
        replace_file(tmp_path / "page", b"new")
    with pytest.raises(OSError, match="No space"):
        write_by_name(tmp_path / "page", b"new")
    assert ((tmp_path / "page").read_bytes(), names(tmp_path)) == (b"old", ["page"])


def test_what_is_durable_is_synced_before_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[str, bool]] = []
    real = os.fsync

    def note(descriptor: int) -> None:
        synced.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), (tmp_path / "page").exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    replace_file(tmp_path / "page", b"data", suffix="new")
    expected = [(f"{tmp_path}/.page.new", False), (str(tmp_path), True)]
    assert synced == expected

    synced.clear()
    (tmp_path / "page").unlink()
    write_by_name(tmp_path / "page", b"data", "new")
    assert synced == expected

    synced.clear()
    replace_file(tmp_path / "page", b"data", durable=False)
    assert synced == []


# --- sentences ---------------------------------------------------------------------------------------------------


def test_a_list_in_a_sentence() -> None:
    assert [words.listed(given) for given in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]
    assert words.listed((name for name in "ab"), "or") == "a or b"


def test_a_number_of_things() -> None:
    assert [words.plural(count, "file") for count in (0, 1, 2_000)] == ["0 files", "1 file", "2,000 files"]
    said = [words.agree(count, "row", "was", "were") for count in (0, 1, 2)]
    assert said == ["0 rows were", "1 row was", "2 rows were"]


# --- did you mean ------------------------------------------------------------------------------------------------

MEANT = [
    # word          known                       cutoff  meant
    ("emial",       ["email", "name"],             0.6, "email"),
    ("First-Name",  ["first_name", "last_name"],   0.6, "first_name"),
    ("lifetime",    ["lifetime_value", "email"],   0.6, "lifetime_value"),
    ("life",        ["life_a", "life_b", "x"],     0.9, None),  # two begin with it
    ("li",          ["lifetime_value"],            0.6, None),  # too short to be the beginning of one
    ("MNO",         ["MON", "TUE"],                0.3, "MON"),
    ("MNO",         ["MON", "TUE"],                0.9, None),
    ("x" * 100_000, ["x" * 60],                    0.6, "x" * 60),  # and it does not take long
    ("email",       [],                            0.6, None),
]  # fmt: skip


@pytest.mark.parametrize(("word", "known", "cutoff", "meant"), MEANT, ids=range(len(MEANT)))
def test_which_word_was_meant(word: str, known: list[str], cutoff: float, meant: str | None) -> None:
    assert words.nearest(word, known, cutoff=cutoff) == meant


def test_several_words_that_look_alike() -> None:
    known = ["members-1.csv", "members-2.csv", "orders.csv"]
    assert words.similar("member-1.csv", known, most=3) == ["members-1.csv", "members-2.csv"]
    assert words.hint("memebrs-1.csv", known) == "; did you mean 'members-1.csv'?"
    assert words.hint("zzz", known) == ""


def test_common_runs_say_where_they_begin_in_both() -> None:
    assert words.find_common_runs(list("abcxd"), list("zabcd")) == [(0, 1, 3), (4, 4, 1)]
    assert words.find_common_runs([], ["a"]) == []
