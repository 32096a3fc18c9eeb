"""What the settings of the connector `salesforce` say together is checked before anybody is asked."""

from __future__ import annotations

from typing import Any

import pytest

from connrunner.config import check, destination_rules, salesforce_rules
from connrunner.config.finding import Finding

HERE: dict[str, Any] = {
    "type": "salesforce",
    "login_url": "acme.my.salesforce.com",
    "client_id": "x",
    "client_secret": "env:X",
    "object": "Contact",
}
FIELDS = {"Crm_Id__c": "id", "LastName": "name"}
KEYED = {"external_id": "Crm_Id__c"}


def places(found: list[Finding]) -> list[tuple[str, str]]:
    return [(".".join(map(str, one.path)), one.code) for one in found]


EXPORTS: list[tuple[dict[str, Any], dict[str, Any], list[tuple[str, str]], str]] = [
    # settings, the rest of the export, where and what; words
    (KEYED, {}, [], ""),
    ({}, {}, [("export.to", "missing-key")], "`external_id: FIELD`"),
    ({"external_id": "Crm_Id"}, {}, [("export.to.external_id", "missing-column")], "did you mean 'Crm_Id__c'"),
    ({"operation": "insert"}, {}, [], ""),
    ({"operation": "insert"}, {"fields": {"Id": "a"}}, [("export.fields.Id", "does-not-fit")], "leave it out"),
    ({"operation": "insert"}, {"deleted": "send"}, [("export.deleted", "cannot-delete")], "nobody can say which"),
    ({"operation": "delete", **KEYED}, {"deleted": "send"}, [("export.deleted", "cannot-delete")], "nobody can say"),
    ({"operation": "delete", **KEYED}, {}, [], ""),
    ({"operation": "delete"}, {}, [("export.fields", "missing-column")], "by an external id: `external_id`"),
    ({"operation": "update", **KEYED}, {}, [("export.fields", "missing-column")], "id: `operation: upsert`"),
    ({"operation": "update"}, {"fields": {"Id": "a"}, "deleted": "send"}, [], ""),
    ({**KEYED, "clear": ["LastName", "LastNam"]}, {}, [("export.to.clear.1", "missing-column")], "mean 'LastName'"),
]


@pytest.mark.parametrize(("to", "export", "expected", "words"), EXPORTS)
def test_an_export(to: dict[str, Any], export: dict[str, Any], expected: list[tuple[str, str]], words: str) -> None:
    found = list(destination_rules.check_destination({"to": {**HERE, **to}, "fields": FIELDS, **export}))
    assert places(found) == expected
    assert all(words in f"{one.message}; {one.hint}" for one in found), found


JWT = {"client_secret": None, "private_key": "file:/k", "username": "a"}
IMPORTS: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    ({"fields": ["Id"]}, []),
    ({"fields": ["Id"], **JWT, "login_url": None}, []),
    ({"object": None}, [("import.from", "missing-key")]),
    ({"object": None, "soql": "SELECT Id FROM Lead"}, []),
    ({"soql": "SELECT Id FROM Lead"}, [("import.from.object", "does-not-fit")]),
    ({"client_secret": None}, [("import.from", "missing-key")]),
    ({**JWT, "client_secret": "env:X"}, [("import.from.client_secret", "does-not-fit")]),
    ({"login_url": None}, [("import.from", "does-not-fit")]),
    ({"login_url": "https://Test.salesforce.com/"}, [("import.from.login_url", "does-not-fit")]),
    ({"login_url": "test.salesforce.com", **JWT}, []),
]


@pytest.mark.parametrize(("said", "expected"), IMPORTS)
def test_an_import(said: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    settings = {key: value for key, value in {**HERE, **said}.items() if value is not None}
    assert places(list(salesforce_rules.check_salesforce_import(settings))) == expected
    assert [one for one in check._import({"from": settings}, None) if one.path[:2] == ("import", "from")] == list(
        salesforce_rules.check_salesforce_import(settings)
    )
