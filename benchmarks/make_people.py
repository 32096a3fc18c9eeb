"""Make the people of the example workspace: fictitious, plausible, and the same every time.

    python benchmarks/make_people.py examples

The first file holds 600 members, two of them twice. The second one, of a day later, holds some of them unchanged, some
changed, and a few new ones. The third one lies beside them: a dozen rows, each with a flaw.
"""

from __future__ import annotations

import csv
import io
import sys
import unicodedata
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import TypeVar

T = TypeVar("T")
Row = dict[str, str]

COLUMNS = (
    "MemberID",
    "Email",
    "FirstName",
    "LastName",
    "Birthday",
    "City",
    "Country",
    "LifetimeValue",
    "Orders",
    "Interests",
    "VIP",
    "Newsletter",
)
MEMBERS = 600
UNCHANGED, CHANGED, NEW = 26, 30, 8  # in the second file

DUTCH_FIRST_NAMES = """
    Daan Sem Lucas Levi Finn Noah Milan Bram Luuk Thijs Jesse Lars Sven Jeroen Pieter Willem Hendrik Emma Julia Mila
    Tess Sophie Zoë Sara Nora Yara Eva Lotte Fleur Roos Anouk Femke Saskia Marieke Fatima Mohamed Yusuf Aylin Jaïr
"""
DUTCH_LAST_NAMES = """
    de_Jong Jansen de_Vries van_den_Berg van_Dijk Bakker Janssen Visser Smit Meijer de_Boer Mulder de_Groot Bos Vos
    Peters Hendriks van_Leeuwen Dekker Brouwer de_Wit Dijkstra Smits de_Graaf van_der_Meer Kok Jacobs Vermeulen Koster
    van_den_Heuvel van_der_Veen Schouten Willems Hoekstra Prins Huisman Postma Yildiz Öztürk El_Amrani Ramdin
"""
# country: its share in percent, cities, first names, last names
LANDS: dict[str, tuple[int, str, str, str]] = {
    "NL": (
        60,
        "Amsterdam Rotterdam Utrecht Eindhoven Groningen Tilburg Almere Breda Nijmegen Haarlem Arnhem Zwolle Leiden",
        DUTCH_FIRST_NAMES,
        DUTCH_LAST_NAMES,
    ),
    "BE": (
        12,
        "Antwerpen Gent Brugge Leuven Mechelen Hasselt Liège Namur",
        "Arthur Louis Victor Jules Lowie Mathis Olivia Louise Marie Elise Noor Amélie Charlotte Lieve Griet Koen",
        "Peeters Maes Willems Claes Goossens Wouters De_Smet Dubois Lambert Dupont Lemmens Van_Damme",
    ),
    "DE": (
        10,
        "Berlin Köln München Hamburg Aachen Düsseldorf Münster",
        "Jürgen Lukas Jonas Felix Günther Björn Leonie Hannah Klara Frieda Käthe Sabine",
        "Müller Schmidt Schröder Weiß Köhler Hoffmann Krüger Jäger Böhm Vogel",
    ),
    "GB": (
        6,
        "London Leeds Bristol Glasgow Cardiff",
        "Oliver George Harry Amelia Isla Grace Priya Aisha",
        "Smith Jones Taylor O'Connor Patel Davies Evans Khan",
    ),
    "FR": (
        6,
        "Paris Lyon Lille Nantes",
        "Gabriel Raphaël Léo Jade Chloé Inès Françoise Benoît",
        "Martin Bernard Durand Moreau Lefèvre Garçon Petit",
    ),
    "ES": (3, "Madrid Sevilla Valencia", "Hugo Martín Lucía Sofía Íñigo Begoña", "García Núñez Fernández López Peña"),
    "PL": (3, "Kraków Gdańsk Łódź", "Zofia Łukasz Paweł Małgorzata Ewa", "Nowak Wójcik Kowal Śliwa Żak"),
}
INTERESTS = ("art", "books", "cooking", "cycling", "film", "football", "gardening", "music", "sailing", "travel")
LETTERS = str.maketrans({"ł": "l", "ß": "ss", "'": "", " ": ""})

# the member, as a row of the first file; column; what stands there in the flawed file instead
FLAWS = (
    (24, "Orders", "three"),
    (57, "Orders", "3.5"),
    (88, "LifetimeValue", "€ 129,50"),
    (131, "LifetimeValue", "unknown"),
    (167, "Birthday", "1987-02-30"),
    (203, "Birthday", "31/12/1990"),
    (248, "Email", "sanne.jansen@"),
    (290, "Email", "asked not to be mailed"),
    (334, "VIP", "maybe"),
    (371, "MemberID", ""),
)
CUT_SHORT = 419  # a row that ends in the middle
SHIFTED = 466  # a row with a comma that nobody quoted
TWICE = ((12, 512), (40, 555))  # rows, and where they come a second time with newer values


class People:
    """Invents one member after the other."""

    def __init__(self, seed: int) -> None:
        self._chance = Random(seed)
        self._addresses: set[str] = set()
        self._next = 10001

    def pick(self, values: Sequence[T]) -> T:
        # random() is the one method that Python promises never to change.
        return values[int(self._chance.random() * len(values))]

    def chance(self, percent: float) -> bool:
        return self._chance.random() * 100 < percent

    def number(self, low: int, high: int) -> int:
        return low + int(self._chance.random() * (high - low + 1))

    def member(self) -> Row:
        country = self.pick([code for code, (share, *_) in LANDS.items() for _ in range(share)])
        _, cities, first_names, last_names = LANDS[country]
        first, last = self.pick(first_names.split()), self.pick(last_names.split()).replace("_", " ")
        orders = 0 if self.chance(15) else int(1 + self._chance.random() ** 3 * 40)
        row = {
            "MemberID": f"M{self._next}",
            "Email": self.address(first, last) if self.chance(97) else "",
            "FirstName": first,
            "LastName": last,
            "Birthday": str(date(1944, 1, 1) + timedelta(days=self.number(0, 62 * 365))) if self.chance(90) else "",
            "City": self.pick(cities.split()),
            "Country": country,
            "Orders": str(orders),
            "Interests": ";".join(name for name in INTERESTS if self.chance(18)),
            "Newsletter": "yes" if self.chance(64) else "no" if self.chance(80) else "",
        }
        self._next += 1
        return row | self.value(orders)

    def value(self, orders: int, before: str = "0.00") -> Row:
        cents = int(before.replace(".", "")) + sum(self.number(900, 12000) for _ in range(orders))
        return {"LifetimeValue": f"{cents // 100}.{cents % 100:02}", "VIP": "true" if cents > 100_000 else "false"}

    def address(self, first: str, last: str) -> str:
        letters = unicodedata.normalize("NFKD", f"{first}.{last}".lower().translate(LETTERS))
        name = letters.encode("ascii", "ignore").decode()
        domain = self.pick(("example.com", "example.com", "example.org", "example.net"))
        address, count = f"{name}@{domain}", 1
        while address in self._addresses:
            count += 1
            address = f"{name}{count}@{domain}"
        self._addresses.add(address)
        return address

    def later(self, row: Row) -> Row:
        """Return *row* after a few more orders, sometimes with a new city or another answer about the newsletter."""
        more = self.number(1, 3)
        changed = row | {"Orders": str(int(row["Orders"]) + more)} | self.value(more, row["LifetimeValue"])
        if self.chance(25):
            cities = LANDS[row["Country"]][1].split()
            changed["City"] = cities[(cities.index(row["City"]) + 1) % len(cities)]
        if self.chance(30):
            changed["Newsletter"] = "no" if row["Newsletter"] == "yes" else "yes"
        return changed


def files() -> dict[str, str]:
    """Return the text of each file by its name."""
    people = People(seed=20261121)
    members = [people.member() for _ in range(MEMBERS)]
    flawed = {row for row, *_ in FLAWS} | {CUT_SHORT, SHIFTED} | {row for pair in TWICE for row in pair}
    sound = [row for index, row in enumerate(members) if index not in flawed]

    lines = [_cells(row) for row in members]
    for early, late in TWICE:
        lines.insert(late, _cells(people.later(members[early])))

    second = [sound[7 * index] for index in range(UNCHANGED)]
    second += [people.later(sound[7 * index + 3]) for index in range(CHANGED)]
    second += [people.member() for _ in range(NEW)]
    second.sort(key=lambda row: row["MemberID"])
    wrong = [_cells(members[index] | {column: value}) for index, column, value in FLAWS]
    wrong.append(_line([members[CUT_SHORT][column] for column in COLUMNS[:6]]))
    shifted = members[SHIFTED]
    wrong.append(_cells(shifted).replace(f",{shifted['City']},", f",{shifted['City']}, Centrum,"))
    return {
        "in/members-2026-11-21.csv": "".join([_line(COLUMNS), *lines]),
        "in/members-2026-11-22.csv": "".join([_line(COLUMNS), *map(_cells, second)]),
        "flawed/members-2026-11-23.csv": "".join([_line(COLUMNS), *wrong]),
    }


def _cells(row: Row) -> str:
    return _line([row[column] for column in COLUMNS])


def _line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def main() -> None:
    folder = Path(sys.argv[1])
    for name, text in files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
        print(f"{folder / name}: {text.count(chr(10)) - 1} rows")


if __name__ == "__main__":
    main()
