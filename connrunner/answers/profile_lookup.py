"""How many profiles there are, one of them, or a selection in a file: the answer of `connrunner profiles`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from connrunner import profiles
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.config.load import profile_model_from
from connrunner.config.secrets import resolve_secret
from connrunner.core import instant
from connrunner.core.model import Format, Objective, ProfileModel
from connrunner.core.report import NullReport
from connrunner.errors import ArgumentError, BusyError, RunError
from connrunner.processes.temporary_folders import temporary_folder
from connrunner.profiles.store_place import StorePlace, open_profile_store
from connrunner.state.store_changes import list_store_changes
from connrunner.text import words

WAIT = 5.0  # seconds that a question waits for a run that has the store open
FORMATS: dict[str, Format] = {
    ".csv": Format(type="csv"),
    ".jsonl": Format(type="jsonl"),
    ".parquet": Format(type="parquet"),
}


@contextmanager
def open_profiles(
    view: WorkspaceView, model: ProfileModel, *, read_only: bool = True
) -> Iterator[profiles.ProfileStore]:
    """Open the store of the workspace for a question, or for a change; BusyError when a run holds it too long."""
    with (
        busy_when_open(),
        temporary_folder() as temp,
        open_profile_store(
            locate_store(view),
            model,
            temp=temp,
            report=NullReport(),
            read_only=read_only,
            wait=WAIT,
            expected=list_store_changes(view.state),
        ) as store,
    ):
        yield store


def locate_store(view: WorkspaceView) -> StorePlace:
    """Return where the profiles of the workspace are kept."""
    return StorePlace(
        settings=view.workspace.store,
        path=view.state.profiles,
        folder=view.folder,
        resolve=partial(resolve_secret, folder=view.folder),
    )


def refuse_database(view: WorkspaceView, what: str, hint: str) -> None:
    """ArgumentError when profiles are kept in a database: *what* is only done to the store of the state folder."""
    if not locate_store(view).is_embedded:
        raise ArgumentError(f"{what} is not done to a profile store in PostgreSQL yet", hint=hint)


def refuse_lost_store(view: WorkspaceView) -> None:
    """RunError when the store is not there, and history knows of imports or exports: nobody is in it, so it seems."""
    from connrunner.profiles.whole_store import refuse_missing_store  # DuckDB is slow to import

    refuse_missing_store(view.state.profiles, list_store_changes(view.state))


@contextmanager
def busy_when_open() -> Iterator[None]:
    """Turn the error for a store that a run has open into a BusyError: a person may try again."""
    try:
        yield
    except RunError as error:
        if error.code != "store-busy":
            raise
        raise BusyError(error.message, hint=error.hint) from error


def read_model(view: WorkspaceView) -> ProfileModel:
    """Return the properties, identifiers and objectives that profile.yaml declares."""
    return profile_model_from(view.workspace.profile_document)


def choose_columns(model: ProfileModel, names: str | None) -> tuple[str, ...]:
    """Return the properties that *names*, a text with commas, lists; ArgumentError for an unknown one."""
    chosen = tuple(name.strip() for name in names.split(",")) if names else ()
    for name in chosen:
        if name not in model.properties:
            raise ArgumentError(f"there is no property {name!r}{words.hint(name, model.properties)}")
    return chosen


def count_profiles(view: WorkspaceView, model: ProfileModel, where: str | None) -> int:
    """Return how many profiles there are; those for which the SQL expression *where* holds."""
    with open_profiles(view, model) as store:
        return store.count(where)


def find_profiles(view: WorkspaceView, model: ProfileModel, value: str) -> list[dict[str, Any]]:
    """Return the profiles that have *value* in one of their identifiers, each once."""
    found: list[dict[str, Any]] = []
    with open_profiles(view, model) as store:
        for name in identifiers(model):
            with suppress(ArgumentError):  # not an e-mail address, so not a value of that identifier
                found += store.find(name, value)
    return [profile for place, profile in enumerate(found) if profile not in found[:place]]


def find_by_number(view: WorkspaceView, model: ProfileModel, number: int) -> dict[str, Any]:
    """Return the profile with that *number* in the store, which `rejects` shows; ArgumentError without one."""
    with open_profiles(view, model) as store:
        found = store.find_number(number)
    if found is None:
        raise ArgumentError(f"there is no profile with the number {number}", hint="numbers are never given again")
    return found


def write_profiles(
    view: WorkspaceView, model: ProfileModel, target: Path, columns: tuple[str, ...], where: str | None
) -> int:
    """Write a selection to *target*, in the format that its name says; return how many profiles it has."""
    with open_profiles(view, model) as store:
        return store.write(target, _format(target), columns, where=where)


def identifiers(model: ProfileModel) -> list[str]:
    """Return the properties that find profiles."""
    return [prop.name for prop in model.properties.values() if prop.identifier]


def describe_profile(profile: dict[str, Any], model: ProfileModel, zone: str) -> list[tuple[str, str]]:
    """Return what is known of a profile: each property, objective and change with its value in words."""
    facts = {name: _value(value) for name, value in profile["properties"].items() if value not in (None, [])}
    for objective, consented in profile["consents"].items():
        facts[objective] = describe_consent(consented, model.objectives.get(objective))
    for change in ("created", "changed"):
        at, by, run = (profile[change][key] for key in ("at", "connection", "run"))
        facts[change] = f"{instant.local(instant.parse(at), zone)} by {by} #{run}"
    return list(facts.items())


def describe_consent(answer: bool | None, objective: Objective | None) -> str:
    """Return in words what a profile answered to *objective*: yes, no, or nothing, which its legislation decides."""
    if answer is not None:
        return "consented" if answer else "refused"
    if objective is None:
        return "nothing said"  # profile.yaml declares it no more
    counts = "no" if objective.legislation == "opt-in" else "yes"
    return f"nothing said ({objective.legislation}: counts as {counts})"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(map(_value, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _format(target: Path) -> Format:
    name = target.name.removesuffix(".gz")
    try:
        return FORMATS[Path(name).suffix]
    except KeyError:
        raise ArgumentError(f"{target} does not say a format", hint="end it in .csv, .jsonl or .parquet") from None


def count_as_dict(count: int, where: str | None) -> dict[str, Any]:
    """Return a number of profiles as `profiles --format json` shows it."""
    return {"profiles": count, "where": where}
