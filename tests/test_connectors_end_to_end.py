"""Rows from and to a partner, through whole runs: marks, kept rows, refusals."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.conftest import Place

pytestmark = pytest.mark.slow


@dataclass
class Partner:
    """A partner's API on loopback: a list of people to read, and a place that takes people and refuses the young."""

    people: list[dict[str, Any]] = field(default_factory=list)
    taken: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def partner() -> Iterator[Partner]:
    known = Partner()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known.asked.append(self.path)
            since = parse_qs(urlsplit(self.path).query).get("since", [""])[0]
            self._answer({"people": [person for person in known.people if person["changed"] >= since]})

        def do_POST(self) -> None:
            people = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            errors = [
                {"index": place, "code": "too-young", "message": "must be of age"}
                for place, person in enumerate(people)
                if int(person["age"]) < 18
            ]
            refused = {error["index"] for error in errors}
            known.taken += [person for place, person in enumerate(people) if place not in refused]
            self._answer({"errors": errors})

        def _answer(self, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    known.url = f"http://127.0.0.1:{server.server_port}"
    yield known
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def shop(place: Place, partner: Partner) -> Place:
    place.write(
        "connections/people.yaml",
        f"""\
schedule: {{type: manual}}
import:
  from: {{type: http, url: "{partner.url}/people", rows: people, watermark: {{field: changed, parameter: since}}}}
  match: [id]
  fields: {{id: id, name: name, age: age}}
""",
    )
    place.write(
        "connections/audience.yaml",
        f"""\
schedule: {{type: manual}}
export:
  to: {{type: http, url: "{partner.url}/audience", body: list, refused: {{path: errors, index: index, code: code, message: message}}}}
  fields: {{id: id, age: age}}
""",
    )
    return place


def run(place: Place, name: str, code: int = 0) -> dict[str, int]:
    done = place.run("run", name, "--format", "json", check=code)
    return {key: number for key, number in json.loads(done.out)["counts"].items() if number}


@pytest.mark.thorough
def test_an_api_is_read_from_where_the_last_run_came_to(shop: Place, partner: Partner) -> None:
    partner.people = [
        {"id": "1", "name": "Ann", "age": "30", "changed": "2026-11-20T00:00:00Z"},
        {"id": "2", "name": "Bob", "age": "none", "changed": "2026-11-21T00:00:00Z"},
    ]
    first = run(shop, "people")
    partner.people += [{"id": "3", "name": "Cy", "age": "40", "changed": "2026-11-22T00:00:00Z"}]
    second = run(shop, "people")
    partner.people += [{"id": "2", "name": "Bob", "age": "31", "changed": "2026-11-23T00:00:00Z"}]
    third = run(shop, "people")
    fourth = run(shop, "people")

    assert first == {"read": 2, "checked": 2, "created": 1, "invalid": 1}
    assert "since" not in partner.asked[0]
    assert "since=2026-11-21" in partner.asked[1]
    assert (second["created"], second["invalid"]) == (1, 1)  # the refused row is offered again
    assert third.get("created") == 1
    assert "invalid" not in third, "a newer row about the same person takes the place of the refused one"
    assert "invalid" not in fourth
    assert json.loads(shop.run("state", "people", "--format", "json").out)["kept_rows"] == 0


@pytest.mark.thorough
def test_what_the_partner_refuses_is_told_and_offered_again(shop: Place, partner: Partner) -> None:
    shop.write("in/a.csv", "id,age\n1,30\n2,12\n3,50\n")
    shop.write(
        "connections/file.yaml",
        'schedule: {type: manual}\nimport: {from: {type: files, path: "in/*.csv"}, match: [id], fields: {id: id, age: age}}\n',
    )
    run(shop, "file")

    first = run(shop, "audience")
    shop.write("in/b.csv", "id,age\n2,18\n")
    run(shop, "file")
    second = run(shop, "audience")
    third = run(shop, "audience")

    assert first == {"read": 3, "checked": 3, "created": 2, "rejected": 1}
    (reject,) = json.loads(shop.run("rejects", "audience", "1", "--format", "json").out)
    assert (reject["stage"], reject["code"], reject["message"]) == ("write", "too-young", "must be of age")
    assert second["rejected" if "rejected" in second else "created"] == 1
    assert third == {"read": 3, "checked": 3, "unchanged": 3}
    assert sorted(person["id"] for person in partner.taken) == ["1", "2", "3"]
    assert [record["outcome"] for record in shop.runs("audience")] == ["succeeded", "succeeded", "partial"]


@pytest.mark.thorough
def test_a_reset_begins_at_the_beginning(shop: Place, partner: Partner) -> None:
    partner.people = [{"id": "1", "name": "Ann", "age": "30", "changed": "2026-11-20T00:00:00Z"}]
    run(shop, "people")
    assert "mark: " in shop.run("state", "people").out

    shop.run("reset", "people", "--yes")

    assert "remembers nothing" in shop.run("state", "people").out
    assert run(shop, "people") == {"read": 1, "checked": 1, "unchanged": 1}
    assert "since" not in partner.asked[-1]


@pytest.mark.thorough
def test_a_broken_expectation_leaves_everything_as_it_was(shop: Place) -> None:
    shop.write("in/a.csv", "id,age\n1,30\n2,x\n3,y\n")
    shop.write(
        "connections/file.yaml",
        "schedule: {type: manual}\nimport:\n  from: {type: files, path: in/a.csv}\n  match: [id]\n"
        "  fields: {id: id, age: age}\n  expect: {max_invalid_pct: 50}\n",
    )

    run(shop, "file", 1)

    (found,) = shop.runs("file")
    assert (found["outcome"], found["code"]) == ("failed", "expectation")
    assert "66" in found["message"]
    assert json.loads(shop.run("profiles", "--format", "json").out)["profiles"] == 0


@pytest.mark.thorough
def test_an_empty_export_can_be_skipped(shop: Place) -> None:
    shop.write("in/a.csv", "id,age\n1,30\n")
    shop.write(
        "connections/file.yaml",
        "schedule: {type: manual}\nimport: {from: {type: files, path: in/a.csv}, match: [id], fields: {id: id, age: age}}\n",
    )
    shop.write(
        "connections/out.yaml",
        'schedule: {type: manual}\nexport: {to: {type: files, path: "out/{run}.csv"}, fields: {id: id}, when_empty: skip}\n',
    )
    run(shop, "file")
    run(shop, "out")

    run(shop, "out")

    assert sorted(path.name for path in (shop.folder / "out").iterdir()) == ["1.csv"]
    assert shop.runs("out")[0]["message"] == "there was nothing to send"
