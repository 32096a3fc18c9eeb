"""The file of a new connection: its text, as `connrunner new` writes it, with the fields of this workspace."""

from __future__ import annotations

import re
from collections.abc import Mapping

from connrunner.core.model import ProfileModel

COMMAND = "command"
COMMENT = 36  # the column of comments
KINDS = ("files", "sftp", "s3", "http", "sql", "singer", COMMAND)

# What stands below `from` and `to`. NAME is the connection, VARIABLE the beginning of the names of its secrets, KEY the
# first identifier of the profile, PROPERTIES all of the properties.
SOURCES: Mapping[str, str] = {
    "files": """\
path: "in/NAME-*.csv"  # relative to the workspace, or absolute; packed files, too
""",
    "sftp": """\
host: sftp.example.com
username: crm
password: "env:VARIABLE_PASSWORD"  # or `key: "env:VARIABLE_KEY"`, the text of a private key
# host_key: "SHA256:..."  # what the owner of the server says; without it, known_hosts
path: "out/NAME-*.csv"
# after: move  # when a file is imported; with move_to: out/done
""",
    "s3": """\
bucket: crm-exports
path: "daily/NAME-*.csv"
region: eu-west-1  # or `endpoint_url` of a compatible store
access_key_id: "env:VARIABLE_KEY_ID"
secret_access_key: "env:VARIABLE_SECRET"
""",
    "http": """\
url: https://api.example.com/v1/contacts
auth: {type: bearer, token: "env:VARIABLE_TOKEN"}  # or basic, or oauth2
rows: data  # where the answer has its rows
# paging: {type: cursor, path: meta.next_cursor, parameter: cursor}  # or next_link, or page
# watermark: {field: updated_at, parameter: updated_since}  # only what is new since the last run
""",
    "sql": """\
url: postgresql://reader@db.example.com/crm  # or mysql+pymysql://..., sqlite:///shop.db
password: "env:VARIABLE_PASSWORD"
query: |
  SELECT PROPERTIES
  FROM customers
# watermark: {column: updated_at}  # only what is new since the last run
""",
    "singer": """\
package: tap-jsonl==0.3.1  # any tap on PyPI, pinned: `connrunner connectors install NAME`
stream: people
config:
  path: in/NAME-*.jsonl
  stream_name: people
  primary_keys: [KEY]
  # token: "env:VARIABLE_TOKEN"
""",
}
DESTINATIONS: Mapping[str, str] = {
    "files": """\
path: "out/NAME-{run}.csv"  # relative to the workspace, or absolute
""",
    "sftp": """\
host: sftp.example.com
username: printer
password: "env:VARIABLE_PASSWORD"  # or `key: "env:VARIABLE_KEY"`, the text of a private key
# host_key: "SHA256:..."  # what the owner of the server says; without it, known_hosts
path: "in/NAME-{run}.csv"
""",
    "s3": """\
bucket: partner-drop
path: "NAME/{date}-{run}.csv"
region: eu-west-1  # or `endpoint_url` of a compatible store
access_key_id: "env:VARIABLE_KEY_ID"
secret_access_key: "env:VARIABLE_SECRET"
""",
    "http": """\
url: https://api.example.com/v1/contacts/batch
auth: {type: bearer, token: "env:VARIABLE_TOKEN"}  # or basic, or oauth2
batch: 200  # rows in one request
body: {wrap: contacts}
""",
    "sql": """\
url: postgresql://writer@db.example.com/crm  # or mysql+pymysql://..., sqlite:///shop.db
password: "env:VARIABLE_PASSWORD"
table: audience
mode: upsert  # or insert, or replace
unique: [KEY]  # a unique index of the table covers exactly this
""",
    "singer": """\
package: target-jsonl==0.1.4  # any target on PyPI, pinned: `connrunner connectors install NAME`
stream: people
keys: [KEY]
config: {destination_path: out}  # a secret is a reference here, too: {token: "env:VARIABLE_TOKEN"}
""",
}

HEAD = """\
title: TITLE
description: What it brings, and whom to ask about it.
# owner: data-team  # who answers for it; `--owner data-team` finds it
# labels: {team: crm}  # words of your own; `--label team=crm` finds it
enabled: false  # it runs only when you ask for it: `connrunner run NAME --force`
schedule: {type: manual}  # or {type: days_of_week, days: [monday], time: "01:30"}: `connrunner explain schedule`
"""
IMPORT = """\
import:
  from:
    type: KIND
SETTINGS  match: [KEY]  # what finds a profile; one that is not found is created
  fields:  # a property of profile.yaml: the column that it comes from
FIELDS  # consent: {OBJECTIVE: Consent}  # a column that says yes or no to an objective
"""
EXPORT = """\
export:
  to:
    type: KIND
SETTINGS  # where: KEY IS NOT NULL  # which profiles; without it, all
CONSENTED  # rows: changed  # only what changed since the last run
  fields:  # a column: the property of profile.yaml that fills it
FIELDS"""
PROGRAM = """\
command:
  run: ["python3", "jobs/NAME.py"]  # a program and its arguments
  # env: {API_KEY: "env:VARIABLE_API_KEY"}
# timeout: 30m
# stop: {grace: 30s}  # how long it has to clean up when it is stopped
"""


def format_connection(name: str, kind: str, profile: ProfileModel, *, export: bool, schema: str = "") -> str:
    """Return the text of the file of connection *name*, of one of `KINDS`: sound, with comments, and switched off.

    It has the first identifier and all properties of *profile*; a program has no direction. *schema* is what the editor
    checks the file by.
    """
    modeline = f"# yaml-language-server: $schema={schema}\n" if schema else ""
    work = PROGRAM if kind == COMMAND else _format_rows(kind, profile, export=export)
    title = name.replace("-", " ").replace("_", " ").capitalize()
    words = {"NAME": name, "TITLE": _quote(title), "VARIABLE": name_variable(name)}
    return modeline + _align(_fill(f"{HEAD}\n{work}", words))


def name_variable(name: str) -> str:
    """Return what the variables of the secrets of connection *name* begin with."""
    word = re.sub("[^A-Z0-9]", "_", name.upper())
    return f"_{word}" if word[0].isdigit() else word


def _format_rows(kind: str, profile: ProfileModel, *, export: bool) -> str:
    names = [_quote(name) for name in profile.properties]
    identifiers = [_quote(name) for name, one in profile.properties.items() if one.identifier]
    objectives = [_quote(name) for name in profile.objectives]
    only = f"  objectives: [{', '.join(objectives)}]  # only who consented to one of them\n"
    settings = (DESTINATIONS if export else SOURCES)[kind]
    parts = {
        "SETTINGS": "".join(f"    {line}\n" for line in settings.splitlines()),
        "FIELDS": "".join(f"    {name}: {name}\n" for name in names),
        "CONSENTED": only if objectives else "",
    }
    words = {
        "KIND": kind,
        "KEY": (identifiers or names)[0],
        "PROPERTIES": ", ".join(names),
        "OBJECTIVE": (objectives or ["newsletter"])[0],
    }
    return _fill(_fill(EXPORT if export else IMPORT, parts), words)


def _fill(text: str, words: Mapping[str, str]) -> str:
    """Return *text* with the *words* in their places, all at once: what is put in is not looked at again."""
    return re.sub(r"(?<![A-Za-z0-9_])[A-Z]+(?=\b|_)", lambda found: words.get(found[0], found[0]), text)


def _quote(word: str) -> str:
    """Return *word* as YAML has a text: in quotes where it would be a number, true, false or nothing else."""
    return f'"{word}"' if word[0].isdigit() or word.lower() in ("true", "false", "null") else word


def _align(text: str) -> str:
    """Return *text* with the comments that stand behind something under each other, where there is room."""
    return re.sub(r"^(.*\S)  # (.*)$", lambda found: f"{found[1]:<{COMMENT}}  # {found[2]}", text, flags=re.MULTILINE)
