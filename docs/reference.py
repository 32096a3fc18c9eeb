"""Write docs/yaml.md, docs/codes.md and docs/mail-context.md from schemas and code; --check tells if they are true."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from connrunner.config.reference import Key, as_yaml, load_schemas, sections, titles
from connrunner.core import codes

FOLDER = Path(__file__).parent
HEAD = """\
# The YAML of a workspace

Every key of every file. This page is written from the schemas in `schemas/` (`make docs`); editors that know the YAML
language server complete and check these keys as you type, since each file names its schema in its first line.
"""
CODES = """\
# Codes

The stable word that stands with a problem of `validate`, a failed run (`code` in `runs --format json`) or a refused row
(`rejects`). `connrunner explain CODE` shows the same.
"""
MAIL = """\
# What a mail's template sees

Every variable of the templates in `templates/`; [mail.md](mail.md) says how to write one. This page is written from
the code (`make docs`). The values are those of the samples on which `connrunner validate` tries each template.

Every variable is always there. What an event has not is `None`, and asking it for more is an error that `validate`
finds: write `{% if failing %}...{% endif %}`. Times are texts in the zone of the connection's schedule, with their
offset; numbers are numbers, and `{{ run.refused | number }}` writes one in the reader's language.

| event | what happened | our templates |
|---|---|---|
"""


def page() -> str:
    """Return the whole page."""
    schemas = load_schemas()
    parts = [HEAD]
    by_title = {title: file for file, title in titles(schemas).items()}
    title = ""
    for section in sections():
        if section.title != title:
            title = section.title
            parts.append(f"\n## {title}\n\n{schemas[by_title[title]]['description']}\n")
        if section.kind:
            parts.append(f"\n### `{section.kind}`\n\n{section.words}\n")
        parts.append(table(section.keys))
    return "".join(parts)


def mail_page() -> str:
    """Return the page about the variables of templates."""
    from connrunner.notify import samples
    from connrunner.notify.render import EVENTS, kind_of
    from connrunner.notify.variables import MEANING, VARIABLES, paths

    parts = [MAIL]
    parts += [f"| `{event}` | {words} | `{own}` |\n" for event, words in MEANING.items() for own in [kind_of(event)]]
    parts.append("\n| variable | what it is | for example |\n|---|---|---|\n")
    values: dict[str, Any] = {}
    for event in ("partial", "recovered", *EVENTS):
        for path, value in paths(samples.sample(event)):
            if values.get(path) in (None, "", [], {}):
                values[path] = value
    for path, words in VARIABLES.items():
        value = values[path]
        example = "" if isinstance(value, dict | list) else f"`{as_yaml(value)}`" if value not in (None, "") else ""
        parts.append(f"| `{path}` | {words} | {example.replace('|', chr(92) + '|')} |\n")
    return "".join(parts)


def table(keys: tuple[Key, ...]) -> str:
    """Return a table of keys."""
    lines = ["\n| key | what it takes | what it does |\n|---|---|---|\n"]
    for key in keys:
        of = f" with `{key.of}`" if key.of else ""
        cells = (f"`{key.key}`{of}" + (" (required)" if key.required else ""), key.takes, key.words)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n")
    return "".join(lines)


def code_page() -> str:
    """Return the page of codes."""
    parts = [CODES]
    for group, every in codes.grouped().items():
        parts.append(f"\n## {group}\n\n| code | what happened | what to do |\n|---|---|---|\n")
        parts += [f"| `{one.code}` | {one.cause} | {one.remedy} |\n" for one in every]
    return "".join(parts)


def main() -> int:
    """Write the pages, or tell which is not what the source says."""
    wrong = 0
    for name, text in (("yaml.md", page()), ("codes.md", code_page()), ("mail-context.md", mail_page())):
        path = FOLDER / name
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            sys.stderr.write(f"docs/{path.name} is not what the source says; write it anew with `make docs`\n")
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
