"""Words of a workspace in headers of mail: whoever decodes them reads them to the letter, in lines of 78 octets."""

# ruff: noqa: RUF001 - letters of other scripts are what this is about
from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from email.policy import compat32, default

import pytest

from connrunner.core.alerts.notice import Notice
from connrunner.notify.encoded_words import LINE, format_text
from connrunner.notify.mailbox import LONGEST_NAME, parse_person
from connrunner.notify.message import build
from connrunner.notify.render import RenderedMessage
from connrunner.notify.sanitize import clean_line

AT = datetime(2026, 11, 23, 0, 30, tzinfo=UTC)
SOURCE = parse_person("connections@example.com")
# Words, or characters of a script without blanks.
SCRIPTS = {
    "English": "import of the orders from a partner since yesterday: failed, with run 12 (unreachable)".split(),
    "German": "Übersicht über Kundendaten für die größten Märkte täglich aus Köln".split(),
    "French": "Données des clients reçues à l’étranger même où l’été s’achève".split(),
    "Dutch": "Geïmporteerde coördinaten van cliënten één keer per dag via de financiële administratie".split(),
    "Russian": "Уведомление о принятии в работу обращения клиента и его согласии на рассылку".split(),
    "Greek": "Εισαγωγή πελατών από το σύστημα του συνεργάτη κάθε πρωί".split(),
    "Japanese": list("顧客データの取り込み毎朝更新エラーが発生しました"),
    "Thai": list("นำเข้าข้อมูลลูกค้าทุกวัน"),
    "Arabic": "استيراد بيانات العملاء من الشريك كل صباح".split(),
    "Hindi": ["ग्राहक", "डेटा", "क्\u200dष", "आयात", "रोज़"],
    "emoji": ["👩\u200d👩\u200d👧", "🏳️\u200d🌈", "👍🏽", "ok"],
    "mixed": [
        "a",
        "é",
        "=",
        "?=",
        "=?",
        "_",
        "%",
        '"',
        "\\",
        "(",
        "日",
        "x" * 70,
        "ß",
        "a\u0301",
        "<b>",
        ",",
        ";",
        ":",
    ],
}
NO_BLANKS = ("Japanese", "Thai")
SUFFIXES = ("", ": run 1 failed", ": failing, 3 times in a row (server-error)", ": run 7 partial, 12,345 rows refused")


def titles(script: str, count: int) -> Iterator[str]:
    chance = random.Random(script)
    joint = "" if script in NO_BLANKS else " "
    for number in range(count):
        words = chance.choices(SCRIPTS[script], k=1 + number % 24)
        yield clean_line(joint.join(words)).replace("=?", "= ?")


def by_policy(data: bytes, field: str) -> str:
    return str(message_from_bytes(data, policy=default)[field])


def by_hand(data: bytes, field: str) -> str:
    """As most readers do it: lines joined, then each encoded word decoded, without the blanks between two of them."""
    raw = message_from_bytes(data, policy=compat32)[field]
    return str(make_header(decode_header(raw.replace("\r\n", ""))))


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("decode", [by_policy, by_hand])
def test_a_text_is_read_to_the_letter_and_its_lines_are_short(script: str, decode: Callable[[bytes, str], str]) -> None:
    for number, title in enumerate(titles(script, 240)):
        text = clean_line(title + SUFFIXES[number % len(SUFFIXES)]).replace("=?", "= ?")
        for field in ("Subject", "X-Connrunner-Connection"):
            data = format_text(field, text).encode("ascii")
            assert decode(data + b"\r\n", field) == text, text
            assert max(map(len, data.split(b"\r\n"))) <= LINE


@pytest.mark.parametrize("length", range(1, 90))
def test_a_space_stays_one_wherever_a_line_ends(length: int) -> None:
    for text in (
        f"{'é' * length} b c",
        f"{'a' * length} é c",
        f"{'a ' * length}é",
        f"{'日' * length} x",
        f"{'a' * length} b",
    ):
        data = format_text("Subject", clean_line(text)).encode("ascii") + b"\r\n"
        assert {by_policy(data, "Subject"), by_hand(data, "Subject")} == {clean_line(text)}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_whole_mail_holds_title_and_names(script: str) -> None:
    for title in titles(script, 48):
        name = clean_line(title, LONGEST_NAME).replace("=?", "= ?")
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        notice = Notice(
            id="n", connection="crm", run=1, event="failed", recipients=(), target="t", cc=("cc@x.example",)
        )
        mail = RenderedMessage(subject=f"{title}: run 1 failed", text="t", html=None)
        source = parse_person(f'"{quoted}" <a@example.com>')
        data = build(
            notice, f'"{quoted}" <to@example.com>', mail, source=source, at=AT, reply_to=f'"{quoted}" <r@x.example>'
        )
        head = data.partition(b"\r\n\r\n")[0]
        assert max(map(len, head.split(b"\r\n"))) <= 78
        subject = clean_line(f"{title}: run 1 failed").replace("=?", "= ?")
        assert by_policy(data, "Subject") == by_hand(data, "Subject") == subject
        for field, address in (("From", "a@example.com"), ("To", "to@example.com"), ("Reply-To", "r@x.example")):
            raw = message_from_bytes(data, policy=compat32)[field].replace("\r\n", "")
            words, _, spec = raw.rpartition(" <")
            shown = str(make_header(decode_header(words)))
            if words.startswith('"'):
                shown = shown[1:-1].replace('\\"', '"').replace("\\\\", "\\")
            assert (shown, spec) == (name, f"{address}>")
