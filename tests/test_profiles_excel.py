"""Workbooks as other programs write them, in raw XML, from the file to the store; openpyxl reads them beside us."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

from connrunner.core.model import Field, Format, Import, LocalFile, ProfileModel, Property, PropertyType
from connrunner.errors import RunError
from connrunner.profiles.jobs import ImportJob, RunStamp
from connrunner.profiles.readers import excel, jsonlines, workbook
from connrunner.profiles.readers.normalize import NormalizedFile
from connrunner.profiles.results import ImportResult
from connrunner.profiles.stores.duckdb import open_store
from connrunner.text import durations
from tests.test_profiles_import_more import Report

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
STRICT = "http://purl.oclc.org/ooxml/spreadsheetml/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"

# The styles of the workbooks here, by what a cell's `s` says.
FORMATS = [
    "General", "00000", "[h]:mm", "yyyy-mm-dd", "hh:mm:ss", "0.00", "00000-0000", '00000"x"', "#,##0", "[mm]:ss.0",
    '"day" 0', "[Red]0;[Blue]-0", "[$-407]d. mmmm yyyy", "0.0E+00", "000", r"\d0", "@",
]  # fmt: skip


def relations(*targets: tuple[str, str]) -> str:
    each = "".join(
        f'<Relationship Id="rId{number}" Type="{OFFICE}/{kind}" Target="{target}"/>'
        for number, (kind, target) in enumerate(targets, 1)
    )
    return f'<Relationships xmlns="{PACKAGE}">{each}</Relationships>'


def raw(
    rows: str,
    texts: str = "",
    parts: Mapping[str, str | bytes] | None = None,
    *,
    main: str = MAIN,
    date1904: bool = False,
) -> bytes:
    """Return a workbook with one sheet, whose `sheetData` holds *rows*; *texts* are the shared ones, as XML.

    *parts* stand in the place of those of the same name, or beside them.
    """
    xfs = "".join(f'<xf numFmtId="{164 + number}"/>' for number in range(len(FORMATS)))
    formats = "".join(
        f'<numFmt numFmtId="{164 + number}" formatCode="{escape(code, {chr(34): "&quot;"})}"/>'
        for number, code in enumerate(FORMATS)
    )
    content = {
        "[Content_Types].xml": f'<Types xmlns="{TYPES}"><Default Extension="xml" ContentType="application/xml"/>'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Override PartName="/xl/workbook.xml" '
        'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>'
        '<Override PartName="/xl/worksheets/sheet1.xml" '
        'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>'
        '<Override PartName="/xl/sharedStrings.xml" '
        'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"/>'
        '<Override PartName="/xl/styles.xml" '
        'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.styles+xml"/></Types>',
        "_rels/.rels": relations(("officeDocument", "xl/workbook.xml")),
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{OFFICE}"><workbookPr date1904="{date1904:d}"/>'
        '<sheets><sheet name="People" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": relations(
            ("worksheet", "worksheets/sheet1.xml"), ("sharedStrings", "/xl/sharedStrings.xml"), ("styles", "styles.xml")
        ),
        "xl/styles.xml": f'<styleSheet xmlns="{main}"><numFmts count="{len(FORMATS)}">{formats}</numFmts>'
        "<fonts><font/></fonts><fills><fill><patternFill/></fill></fills><borders><border/></borders>"
        f'<cellStyleXfs count="1"><xf numFmtId="14"/></cellStyleXfs><cellXfs count="{len(FORMATS)}">{xfs}</cellXfs>'
        '<cellStyles><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>',
        "xl/sharedStrings.xml": f'<sst xmlns="{main}">{texts}</sst>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{rows}</sheetData></worksheet>',
        **(parts or {}),
    }
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in content.items():
            archive.writestr(name, text)
    return data.getvalue()


def inline(*values: str) -> str:
    return "".join(f'<c t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>' for value in values)


def sheet(*rows: str) -> str:
    return "".join(f"<row>{row}</row>" for row in rows)


# --- cells -------------------------------------------------------------------------------------------------------

E, U = workbook.Flaw.ERROR, workbook.Flaw.UNCOMPUTED
Z = workbook.PaddedInteger

CELLS = [
    # a cell in the sheet                                       what it holds
    ("<c><v>5</v></c>", 5),
    ("<c><v> 5 </v></c>", 5),
    ("<c><v>5.0</v></c>", 5.0),
    ("<c><v>1E3</v></c>", 1000.0),
    ("<c><v>12345678901234567890</v></c>", 12345678901234567890),
    ("<c><v>1E999</v></c>", E),
    ("<c/>", None),
    ("<c><v/></c>", None),
    ('<c t="s"/>', None),
    ('<c t="b"><v>1</v></c>', True),
    ('<c t="b"><v>false</v></c>', False),
    # texts and their escapes
    ('<c t="s"><v>0</v></c>', "l1\r\nl2"),
    ('<c t="s"><v>1</v></c>', "x005F_y"),
    ('<c t="s"><v>2</v></c>', "_x000D_"),
    ('<c t="s"><v>3</v></c>', "one two"),
    ('<c t="s"><v>4</v></c>', "_x000D_"),  # in two runs
    ('<c t="s"><v>5</v></c>', ""),
    ('<c t="s"><v>6</v></c>', "東京"),  # without how it is read
    ('<c t="s"><v>7</v></c>', "_X000D_ _x00D_ x000D_ _xZZZZ_ _x_"),
    ('<c t="s"><v>8</v></c>', "😀"),
    ('<c t="s"><v>9</v></c>', "_xD83D_ a\n"),
    ('<c t="inlineStr"><is><t>a_x000A_b</t></is></c>', "a\nb"),
    ('<c t="inlineStr"><is><r><rPr><b/></rPr><t>a </t></r><r><t>b</t></r></is></c>', "a b"),
    ('<c t="inlineStr"><is><t/></is></c>', ""),
    ('<c t="str"><f>A1</f><v>a_x0009_b</v></c>', "a\tb"),
    ('<c t="str"><v>_x005F_x0041_</v></c>', "_x0041_"),
    ('<c t="str"><v>#N/A</v></c>', "#N/A"),
    ('<c t="inlineStr"><is><t>#REF!</t></is></c>', "#REF!"),
    ("<c t='str'><v><![CDATA[<b>&]]></v></c>", "<b>&"),
    # errors, and formulas
    ('<c t="e"><v>#N/A</v></c>', E),
    ('<c t="e"><v>#GETTING_DATA</v></c>', E),
    ('<c t="e"><v>#SPILL!</v></c>', E),
    ('<c t="e"><v>fine</v></c>', E),
    ('<c t="e"/>', E),
    ("<c><f>1+1</f></c>", U),
    ("<c><f>1+1</f><v/></c>", U),
    ('<c><f t="shared" si="0"/><v></v></c>', U),
    ('<c t="str"><f>A1</f></c>', U),
    ('<c t="b"><f>TRUE()</f></c>', U),
    ("<c><f>1+1</f><v>2</v></c>", 2),
    ('<c t="str"><f>""</f><v></v></c>', ""),
    ('<c t="str"><f>""</f><v/></c>', ""),
    # formats
    ('<c s="1"><v>1234</v></c>', Z(value=1234, width=5)),
    ('<c s="1"><v>-1234</v></c>', Z(value=-1234, width=5)),
    ('<c s="1"><v>1234.0</v></c>', Z(value=1234, width=5)),
    ('<c s="1"><v>1234.5</v></c>', 1234.5),
    ('<c s="6"><v>1234</v></c>', 1234),
    ('<c s="7"><v>1234</v></c>', 1234),
    ('<c s="8"><v>1234</v></c>', 1234),
    ('<c s="10"><v>1</v></c>', 1),
    ('<c s="11"><v>1</v></c>', 1),
    ('<c s="13"><v>1</v></c>', 1),
    ('<c s="15"><v>1</v></c>', 1),
    ('<c s="2"><v>1.5</v></c>', timedelta(hours=36)),
    ('<c s="2"><v>-0.0625</v></c>', timedelta(minutes=-90)),
    ('<c s="9"><v>0.000005787037037037037</v></c>', timedelta(milliseconds=500)),
    ('<c s="2"><v>1e300</v></c>', E),
    ('<c s="3"><v>46348</v></c>', datetime.fromisoformat("2026-11-22")),
    ('<c s="3"><v>46348.385416666664</v></c>', datetime.fromisoformat("2026-11-22T09:15:00")),
    ('<c s="12"><v>46348</v></c>', datetime.fromisoformat("2026-11-22")),
    ('<c s="3"><v>59</v></c>', datetime.fromisoformat("1900-02-28")),
    ('<c s="3"><v>60</v></c>', E),
    ('<c s="3"><v>61</v></c>', datetime.fromisoformat("1900-03-01")),
    ('<c s="3"><v>1</v></c>', datetime.fromisoformat("1900-01-01")),
    ('<c s="3"><v>-1</v></c>', E),
    ('<c s="3"><v>99999999</v></c>', E),
    ('<c s="4"><v>0.5</v></c>', datetime.fromisoformat("2000-01-01T12:00:00").time()),
    ('<c t="d"><v>2026-11-22</v></c>', datetime.fromisoformat("2026-11-22")),
    ('<c t="d"><v>2026-11-22T09:15:00Z</v></c>', datetime.fromisoformat("2026-11-22T09:15:00")),
    ('<c s="99"><v>5</v></c>', 5),
    ('<c s="1" t="str"><v>12</v></c>', "12"),
]  # fmt: skip
TEXTS = (
    "<si><t>l1_x000D_&#10;l2</t></si><si><t>x005F_y</t></si><si><t>_x005F_x000D_</t></si>"
    "<si><r><t>one</t></r><r><rPr><i/></rPr><t xml:space='preserve'> two</t></r></si>"
    "<si><r><t>_x00</t></r><r><t>0D_</t></r></si><si/>"
    "<si><t>東京</t><rPh sb='0' eb='2'><t>とうきょう</t></rPh><phoneticPr fontId='1'/></si>"
    "<si><t>_X000D_ _x00D_ x000D_ _xZZZZ_ _x_</t></si><si><t>_xD83D__xDE00_</t></si><si><t>_xD83D_ a_x000a_</t></si>"
)


def read(data: bytes, in_memory: int = 10_000_000) -> list[list[Any]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        book = workbook.Workbook(archive, in_memory)
        return [row for name in book.sheets for row in book.rows(name)]


@pytest.mark.parametrize(("cell", "expected"), CELLS)
def test_what_a_cell_holds(cell: str, expected: Any) -> None:
    ((*_, found), *_) = read(raw(sheet(inline("a") + cell), TEXTS))
    if expected is None:
        assert found is None
    else:
        assert (found, type(found)) == (expected, type(expected))


def test_cells_stand_where_they_say() -> None:
    rows = [
        '<row r="2"><c r="B2"><v>1</v></c><c><v>2</v></c><c r="F2"><v>3</v></c></row>',
        "<row/>",
        '<row><c r="aa9"><v>4</v></c><c r="A9"><v>5</v></c></row>',
    ]
    assert read(raw("".join(rows))) == [[None, 1, 2, None, None, 3], [5, *[None] * 25, 4]]


def test_workbooks_of_other_writers() -> None:
    """Strict namespaces, prefixes, dates from 1904, names in other letters, parts elsewhere, what holds no cells."""
    row = '<row><c s="3"><v>0.5</v></c><c s="3"><v>1</v></c></row>'
    noon, second = datetime.fromisoformat("2000-01-01T12:00:00").time(), datetime.fromisoformat("1904-01-02")
    assert read(raw(row, main=STRICT, date1904=True)) == [[noon, second]]
    prefixed = (
        f'<x:worksheet xmlns:x="{MAIN}"><x:sheetData><x:row><x:c><x:v>7</x:v></x:c></x:row></x:sheetData></x:worksheet>'
    )
    assert read(raw("", parts={"xl/worksheets/sheet1.xml": prefixed})) == [[7]]
    utf16 = f'<?xml version="1.0" encoding="UTF-16"?>{prefixed}'.encode("utf-16")
    assert read(raw("", parts={"xl/worksheets/sheet1.xml": utf16})) == [[7]]
    rels = relations(("chartsheet", "chart.xml"), ("worksheet", "..\\XL\\Worksheets/SHEET1.xml"))
    book = (
        f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets><sheet name="Chart" r:id="rId1"/>'
        '<sheet name="Rows" state="hidden" r:id="rId2"/></sheets></workbook>'
    )
    odd = raw(sheet("<c><v>1</v></c>"), parts={"xl/_rels/workbook.xml.rels": rels, "xl/workbook.xml": book})
    with zipfile.ZipFile(io.BytesIO(odd)) as archive:
        assert list(workbook.Workbook(archive, 100_000).sheets) == ["Rows"]
    assert read(odd) == [[1]]


CONTRADICTIONS = [
    '<c t="s"><v>99</v></c>',
    '<c t="s"><v>-1</v></c>',
    '<c t="s"><v>Secret</v></c>',
    '<c t="b"><v>Secret</v></c>',
    '<c t="Secret"><v>1</v></c>',
    "<c><v>Secret</v></c>",
    "<c><v>1_0</v></c>",
    "<c><v>NaN</v></c>",
    "<c><v>INF</v></c>",
    '<c r="Secret"><v>1</v></c>',
    '<c r="ZZZ1"><v>1</v></c>',
]


@pytest.mark.parametrize("cell", CONTRADICTIONS)
def test_a_workbook_that_contradicts_itself(cell: str) -> None:
    with pytest.raises(workbook.DamageError) as caught:
        read(raw(sheet(cell)))
    assert "Secret" not in str(caught.value), "a cell is nobody's business"


def test_no_entity_grows() -> None:
    bomb = (
        f'<!DOCTYPE worksheet [<!ENTITY a "{"x" * 1000}"><!ENTITY b "{"&a;" * 1000}">]>'
        f'<worksheet xmlns="{MAIN}"><sheetData><row><c t="str"><v>&b;</v></c></row></sheetData></worksheet>'
    )
    with pytest.raises(workbook.DamageError, match="document type"):
        read(raw("", parts={"xl/worksheets/sheet1.xml": bomb}))


@pytest.mark.parametrize("text", ["<c t='str'><v>{}</v></c>", "<c t='inlineStr'><is><t>{}</t></is></c>"])
def test_no_cell_is_endless(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "LONGEST_TEXT", 100)
    assert read(raw(sheet(text.format("x" * 100))))
    with pytest.raises(workbook.DamageError, match="has more than 100 characters"):
        read(raw(sheet(text.format("x" * 101))))


def test_what_is_kept_in_memory_is_counted_by_what_it_is_used_for() -> None:
    """Not by its name: the texts may be called as a sheet is."""
    rels = relations(("worksheet", "worksheets/sheet1.xml"), ("sharedStrings", "worksheets/texts.bin"))
    texts = f'<sst xmlns="{MAIN}"><si><t>{"x" * 5000}</t></si></sst>'
    data = raw(
        sheet('<c t="s"><v>0</v></c>'), parts={"xl/_rels/workbook.xml.rels": rels, "xl/worksheets/texts.bin": texts}
    )
    assert read(data, 10_000) == [["x" * 5000]]
    with pytest.raises(workbook.TooLargeError):
        read(data, 5000)


DURATIONS = [
    (timedelta(hours=36), "36:00:00"),
    (timedelta(minutes=-90), "-01:30:00"),
    (timedelta(days=100, milliseconds=1), "2400:00:00.001000"),
    (timedelta(microseconds=-1), "-00:00:00.000001"),
    (timedelta(), "00:00:00"),
]


@pytest.mark.parametrize(("duration", "text"), DURATIONS)
def test_a_duration_has_one_spelling(duration: timedelta, text: str) -> None:
    assert durations.as_clock(duration // timedelta(microseconds=1)) == text


# --- imports -----------------------------------------------------------------------------------------------------

EXCEL = Format(type="excel")
KINDS = {"id": "text", "note": "text", "n": "integer", "d": "decimal", "t": "datetime", "day": "date"}
MODEL = ProfileModel(
    properties={
        name: Property(name=name, type=PropertyType(kind), identifier=name == "id", personal=False)
        for name, kind in KINDS.items()
    }
)


class Bench:
    """An open store, and imports of one connection into it."""

    def __init__(self, folder: Path, store: Any) -> None:
        self.folder, self.store, self.run = folder, store, 0

    def take(self, data: bytes, *names: str, empty: str = "keep", form: Format = EXCEL) -> ImportResult:
        self.run += 1
        path = self.folder / "a.xlsx"
        path.write_bytes(data)
        fields = tuple(Field(property=name, column=name, empty=empty) for name in names)  # type: ignore[arg-type]
        found: ImportResult = self.store.import_files(
            ImportJob(
                work=Import(source={}, format=form, match=(("id",),), fields=fields),
                files=(LocalFile(path=str(path), name="a.xlsx", size=len(data), modified=str(self.run)),),
                stamp=RunStamp(
                    connection="people", run=self.run, at=datetime.fromisoformat("2026-11-22T00:00:00+00:00")
                ),
                rejects=self.folder / f"rejects-{self.run}.jsonl",
            )
        )
        return found

    def properties(self, key: str) -> dict[str, Any]:
        found: dict[str, Any] = self.store.find("id", key)[0]["properties"]
        return found

    def codes(self) -> list[tuple[int, str]]:
        path = self.folder / f"rejects-{self.run}.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(one["line"], one["code"]) for one in map(json.loads, lines)]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("bench")
    with open_store(folder / "store.duckdb", MODEL, temp=folder / "temp", report=Report()) as store:
        yield Bench(folder, store)


def test_what_becomes_of_the_cells(bench: Bench) -> None:
    names = ("id", "note", "n", "d", "t", "day")
    rows = sheet(
        inline(*names),
        '<c s="1"><v>1234</v></c><c s="1"><v>42</v></c><c s="1"><v>42</v></c><c s="1"><v>42</v></c>'
        '<c s="3"><v>46348</v></c><c s="3"><v>46348</v></c>',
        '<c><v>77.0</v></c><c s="2"><v>1.5</v></c><c s="14"><v>7</v></c><c><v>-0</v></c>',
        inline("texts", "#N/A"),
        '<c t="inlineStr"><is><t>long</t></is></c><c><v>4.111111111111111E+15</v></c><c><v>1.2345678901234567E+16</v></c>'
        "<c><v>0.30000000000000004</v></c>",
    )
    assert bench.take(raw(rows), *names).counts.created == 4
    long = bench.properties("long")
    assert (long["note"], long["d"]) == ("4111111111111111", "0.3"), "what is whole keeps its digits"
    assert long["n"] == 12345678901234568, "the shortest digits of that float"
    found = {"note": "00042", "n": 42, "d": "42", "t": "2026-11-22T00:00:00Z", "day": "2026-11-22"}
    assert bench.properties("01234").items() >= found.items()
    assert bench.properties("77").items() >= {"note": "36:00:00", "n": 7, "d": "0"}.items()
    assert bench.properties("texts")["note"] == "#N/A", "a text is a text, however it is spelt"
    assert bench.codes() == []


def test_a_cell_with_an_error_and_one_that_was_never_worked_out(bench: Bench) -> None:
    names = ("id", "note", "n")
    bench.take(raw(sheet(inline(*names), inline("f1", "kept"), inline("f2", "kept"), inline("f3", "kept"))), *names)
    rows = sheet(
        inline(*names, "other"),
        inline("f1") + "<c><f>A1</f></c>",
        inline("f2") + '<c t="e"><v>#GETTING_DATA</v></c>',
        inline("f3") + '<c t="str"><f>A1</f><v></v></c><c/><c><f>A1</f></c>',  # a column that no field reads
        "<c><f>A1</f><v></v></c>",
        '<c t="str"><f>A1</f><v></v></c>' * 4,  # says nothing: no record
        inline(" ", "\u00a0"),
    )
    done = bench.take(raw(rows), *names, empty="clear")
    assert bench.codes() == [(2, "formula-error"), (3, "formula-error"), (5, "formula-error")]
    assert done.counts.read == 4
    assert [bench.properties(key).get("note") for key in ("f1", "f2", "f3")] == ["kept", "kept", None]


def test_rows_before_the_header_are_passed_over(bench: Bench) -> None:
    """Rows of the sheet, whether they hold anything or not."""
    title = '<row r="1"><c t="str"><v>People of 2026</v></c></row><row r="3"><c t="str"><v>as of May</v></c></row>'
    header = f'<row r="5">{inline("id", "n")}</row>'
    data = raw(f'{title}{header}<row r="6">{inline("s1", "x")}</row><row>{inline("s2")}<c><v>2</v></c></row>')
    for skip in (3, 4):
        bench.take(data, "id", "n", form=Format(type="excel", skip=skip))
        assert bench.codes() == [(skip + 2, "wrong-type")]
        assert bench.properties("s2")["n"] == 2
    with pytest.raises(RunError, match="has no column 'id'"):
        bench.take(data, "id", "n", form=Format(type="excel", skip=2))
    with pytest.raises(RunError, match="not even a header"):
        bench.take(data, "id", "n", form=Format(type="excel", skip=9))


def test_a_record_that_is_too_long(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonlines, "LONGEST_LINE", 1000)
    with pytest.raises(RunError, match=r"a\.xlsx: record 1 is longer than 1,000 bytes") as caught:
        bench.take(raw(sheet(inline("id", "note"), inline("a", "x" * 2000))), "id", "note")
    assert caught.value.code == "too-long"


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.thorough) for seed in range(1, 20))])
def test_a_damaged_workbook_is_told_as_one(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    good = raw(sheet(inline("id", "note"), '<c t="s"><v>0</v></c><c s="3"><v>46348</v></c>' * 20), TEXTS)
    stored = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(good)) as old, zipfile.ZipFile(stored, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))  # not packed, so that the XML itself is damaged, too
    path = tmp_path / "a.xlsx"
    failures = 0
    for number in range(300):
        data = bytearray((good, stored.getvalue())[number % 2])
        for _ in range(dice.randrange(1, 5)):
            data[dice.randrange(4, len(data))] = dice.randrange(256)
        path.write_bytes(data)
        file = NormalizedFile(path=path, name="a.xlsx", size=len(data))
        try:
            names = excel.read_sheet_columns(file, EXCEL)
            excel.copy_records(file, EXCEL, names, {}, names[:1], names, tmp_path, lambda *_: None)
        except RunError as error:
            found = error
        else:
            continue
        failures += 1
        assert found.code in ("damaged-file", "too-large", "unknown-sheet", "empty-file"), found
        assert found.message.startswith("a.xlsx"), found
    assert failures > 100


@pytest.mark.parametrize("number", range(3))
def test_openpyxl_reads_the_same(number: int) -> None:
    """An independent reader, wherever it does not bend what stands there."""
    openpyxl = pytest.importorskip("openpyxl")
    dice = random.Random(number)
    rows = []
    for _ in range(50):
        cells = [
            f'<c t="inlineStr"><is><t xml:space="preserve">{escape(dice.choice("aé東 &<"))}{dice.random()}</t></is></c>',
            f"<c><v>{dice.randrange(-(10**15), 10**15)}</v></c>",
            f"<c><v>{dice.random()!r}</v></c>",
            f'<c s="3"><v>{dice.randrange(61, 60_000)}</v></c>',
            f'<c s="3"><v>{dice.randrange(61, 60_000) + dice.randrange(86_400) / 86_400!r}</v></c>',
            f'<c s="4"><v>{dice.randrange(1, 86_400) / 86_400!r}</v></c>',
            f'<c s="2"><v>{dice.randrange(86_400) / 1440!r}</v></c>',
            f'<c t="b"><v>{dice.randrange(2)}</v></c>',
            '<c t="s"><v>3</v></c>',
        ]
        dice.shuffle(cells)
        rows.append("".join(cells))
    data = raw(sheet(*rows), TEXTS, date1904=number == 2)
    theirs = openpyxl.load_workbook(io.BytesIO(data), data_only=True).active
    assert read(data) == [list(row) for row in theirs.iter_rows(values_only=True)]
