"""`connrunner profiles`: how many there are, one of them, or a selection in a file."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from connrunner.cli import text
from connrunner.cli.home import Home, with_home
from connrunner.config.load import profile_model_from
from connrunner.core import instant
from connrunner.core.model import Format, ProfileModel
from connrunner.core.report import Level
from connrunner.errors import ArgumentError
from connrunner.profiles import ProfileStore
from connrunner.text import words

WAIT = 5.0  # seconds that a look waits for a run that has the store open
FORMATS: dict[str, Format] = {
    ".csv": Format(type="csv"),
    ".jsonl": Format(type="jsonl"),
    ".parquet": Format(type="parquet"),
}


class NullReport:
    """A report that nobody hears: looking at profiles is no run."""

    def message(self, text: str, *, level: Level = "info", **facts: Any) -> None:
        """Say nothing."""

    def progress(self, stage: str, done: int, of: int | None = None) -> None:
        """Say nothing."""


@click.command()
@click.argument("value", required=False)
@click.option("--where", help="Only profiles for which this SQL expression over properties holds.")
@click.option("--columns", help="The properties to write, with commas between; all of them without this.")
@click.option(
    "--output",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the selection here: .csv, .jsonl or .parquet, also .gz.",
)
@with_home(reads=True)
def profiles_command(
    home: Home, value: str | None, where: str | None, columns: str | None, target: Path | None
) -> None:
    """Count the profiles, show those with the identifier VALUE, or write a selection to a file."""
    from connrunner.profiles.stores.duckdb import open_store

    model = profile_model_from(home.workspace.profile_document)
    chosen = tuple(name.strip() for name in columns.split(",")) if columns else ()
    for name in chosen:
        if name not in model.properties:
            raise ArgumentError(f"there is no property {name!r}{words.hint(name, model.properties)}")
    with (
        tempfile.TemporaryDirectory() as temp,
        open_store(
            home.state.profiles, model, temp=Path(temp), report=NullReport(), read_only=True, wait=WAIT
        ) as store,
    ):
        if value is not None:
            _show(home, store, model, value)
        elif target is not None:
            count = store.write(target, _format(target), chosen, where=where)
            click.echo(f"{count:,} profiles are in {target}")
        else:
            _count(home, store.count(where), where)


def _count(home: Home, count: int, where: str | None) -> None:
    if home.json:
        home.echo_json({"profiles": count, "where": where})
    else:
        click.echo(f"{count:,} profiles" + (f" where {text.clean(where)}" if where else ""))


def _show(home: Home, store: ProfileStore, model: ProfileModel, value: str) -> None:
    identifiers = [prop.name for prop in model.properties.values() if prop.identifier]
    found = []
    for name in identifiers:
        with suppress(ArgumentError):  # no e-mail address, so it is no value of that identifier
            found += store.find(name, value)
    unique = [profile for place, profile in enumerate(found) if profile not in found[:place]]
    if home.json:
        home.echo_json(unique)
        return
    if not unique:
        raise ArgumentError(f"no profile has {' or '.join(identifiers)} {value!r}")
    zone = home.workspace.timezone
    for profile in unique:
        said = {name: _words(what) for name, what in profile["properties"].items() if what not in (None, [])}
        for objective, consented in profile["consents"].items():
            said[objective] = "consented" if consented else "refused"
        for what in ("created", "changed"):
            at, by, run = (profile[what][key] for key in ("at", "connection", "run"))
            said[what] = f"{instant.local(instant.parse(at), zone)} by {by} #{run}"
        click.echo(text.table(("Property", "Value"), [[name, words] for name, words in said.items()]) + "\n")


def _words(what: Any) -> str:
    return "; ".join(map(str, what)) if isinstance(what, list) else str(what)


def _format(target: Path) -> Format:
    name = target.name.removesuffix(".gz")
    try:
        return FORMATS[Path(name).suffix]
    except KeyError:
        raise ArgumentError(f"{target} does not say a format", hint="end it in .csv, .jsonl or .parquet") from None
