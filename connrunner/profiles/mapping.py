"""What an import means for the store: its fields with their properties, its keys, and a fingerprint of it all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from connrunner.core.model import (
    Field,
    Format,
    Import,
    LocalFile,
    Objective,
    ProfileModel,
    Property,
    PropertyType,
    Write,
)
from connrunner.core.schedules.zone import load_zone
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import asdict, dataclass, field
from connrunner.profiles import values
from connrunner.profiles.expectations import SeenColumns

# Counts up when values of a format are read in another way, so that its files are read again: they may hold others.
READERS = {"excel": 1, "parquet": 1}
NUMBERS = (PropertyType.INTEGER, PropertyType.DECIMAL)


@dataclass(frozen=True, kw_only=True, slots=True)
class MappedField:
    """One field of an import; *number* is its place in the staged rows: `v0`, `v1`..."""

    number: int
    field: Field
    owner: Property

    @property
    def writes_new(self) -> bool:
        return self.field.only != "existing" and self.field.write is not Write.REMOVE

    @property
    def writes_existing(self) -> bool:
        return self.field.only != "new"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportPlan:
    """An import with its mapping checked and resolved: what the store needs to know of it."""

    work: Import
    fields: tuple[MappedField, ...]
    groups: tuple[tuple[MappedField, ...], ...]  # the keys: any of the outer, all of the inner
    consents: tuple[tuple[str, str], ...]  # objective and column; staged as `o0`, `o1`...
    objectives: Mapping[str, Objective]  # all that profile.yaml declares
    fingerprint: str  # changes when the same file would mean something else
    columns_seen: SeenColumns = field(default_factory=SeenColumns)  # of the files that were read by it

    def form_of(self, file: LocalFile) -> Format:
        """Return how the rows of *file* stand in it."""
        return file.format or self.work.format

    def fingerprint_of(self, file: LocalFile) -> str:
        """Return a fingerprint that changes when the same bytes of *file* would mean something else."""
        form = _reading_facts(self.form_of(file))
        if form == _reading_facts(self.work.format):
            return self.fingerprint
        return hashlib.sha256(json.dumps([self.fingerprint, form]).encode()).hexdigest()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a file must have."""
        wanted = [mapped.field.column for mapped in self.fields] + [column for _, column in self.consents]
        return tuple(dict.fromkeys(wanted))

    @property
    def finds_by_one_identifier(self) -> bool:
        """True when a row can find one profile at most, by the value of one column."""
        return len(self.groups) == 1 and len(self.groups[0]) == 1 and self.groups[0][0].owner.identifier

    @property
    def increments(self) -> tuple[MappedField, ...]:
        return tuple(mapped for mapped in self.fields if mapped.field.write is Write.INCREMENT)


def make_plan(work: Import, model: ProfileModel) -> ImportPlan:
    """Return the plan of *work*. RunError when it cannot mean anything for *model*."""
    fields = tuple(
        MappedField(number=number, field=field, owner=_owner(model, field.property, "the import's `fields`"))
        for number, field in enumerate(work.fields)
    )
    by_property = {mapped.field.property: mapped for mapped in fields}
    if len(by_property) < len(fields):
        raise _mapping_error("the import's `fields` name a property twice", "leave out one of them")
    for mapped in fields:
        _check_write(mapped)
    for name in (work.format.timezone, *(one.timezone for one in work.fields)):
        _check_zone(name)
    groups = []
    for names in work.match:
        for name in names:
            if name not in by_property:
                raise _mapping_error(
                    f"the import matches on {name!r}, but its `fields` do not fill it", f"add {name!r} to `fields`"
                )
            _check_key(by_property[name], create=work.create)
        groups.append(tuple(by_property[name] for name in names))
    if not groups or not all(groups):
        raise _mapping_error("the import's `match` is empty", "name the identifier that finds a profile")
    for name in (*work.objectives, *work.consent):
        if name not in model.objectives:
            raise _mapping_error(f"there is no objective {name!r} in profile.yaml", "declare it, or name another")
    return ImportPlan(
        work=work,
        fields=fields,
        groups=tuple(groups),
        consents=tuple(work.consent.items()),
        objectives=model.objectives,
        fingerprint=_fingerprint(work, fields, model),
    )


def _owner(model: ProfileModel, name: str, place: str) -> Property:
    if name not in model.properties:
        raise _mapping_error(
            f"{place} name the property {name!r}, which profile.yaml does not declare", "declare it there"
        )
    return model.properties[name]


def _check_write(mapped: MappedField) -> None:
    name, owner, write = mapped.field.property, mapped.owner, mapped.field.write
    if write in (Write.ADD, Write.REMOVE) and not owner.many:
        raise _mapping_error(f"`{write}` needs a property with `many: true`, and {name!r} holds one value", "use `set`")
    if mapped.field.timezone and owner.type is not PropertyType.DATETIME:
        raise _mapping_error(f"`timezone` needs a datetime property, and {name!r} is {owner.type}", "leave it out")
    if write is Write.INCREMENT and (owner.type not in NUMBERS or owner.many or owner.identifier):
        raise _mapping_error(f"`increment` needs a number that is no identifier, and {name!r} is none", "use `set`")


def _check_zone(name: str) -> None:
    try:
        if name:
            load_zone(name)
    except ValueError as error:
        raise _mapping_error(str(error), "correct `timezone`") from None


def _check_key(mapped: MappedField, *, create: bool) -> None:
    name = mapped.field.property
    if mapped.owner.many:
        raise _mapping_error(f"the import matches on {name!r}, which is `many`", "match on a property with one value")
    if mapped.field.write not in (Write.SET, Write.SET_IF_EMPTY):
        raise _mapping_error(f"the import matches on {name!r}, so it cannot `{mapped.field.write}` it", "use `set`")
    if create and not mapped.writes_new:
        # Each run would create the profile anew, because nothing could find it again.
        raise _mapping_error(
            f"a new profile would lack {name!r}, which is to find it again", "leave out `only: existing`"
        )


def _mapping_error(message: str, hint: str) -> RunError:
    return RunError(message, hint=hint, code="mapping")


def _reading_facts(form: Format) -> list[Any]:
    """Return the parts of *form* that say how to read."""
    facts = [
        form.type,
        form.delimiter,
        form.quote,
        form.encoding,
        form.header,
        form.columns,
        form.compression,
        form.rows,
        form.sheet,
        # Files that were read before there were these keys mean what they meant.
        *([{"timezone": form.timezone}] if form.timezone else []),
        *([{"skip": form.skip}] if form.skip else []),
    ]
    facts += [READERS[form.type]] if form.type in READERS else []
    return [*facts, {"skip": form.skip}] if form.skip else facts  # a new key must not change what old ones mean


def _field_facts(field: Field) -> dict[str, Any]:
    facts = asdict(field)
    if not field.timezone:
        del facts["timezone"]  # as above
    return facts


def _fingerprint(work: Import, fields: tuple[MappedField, ...], model: ProfileModel) -> str:
    facts = {
        "rules": values.RULES,
        "format": _reading_facts(work.format),
        "match": work.match,
        "fields": [
            _field_facts(mapped.field) | {"type": mapped.owner.type, "many": mapped.owner.many} for mapped in fields
        ],
        "create": work.create,
        "objectives": [[name, model.objectives[name].legislation] for name in work.objectives],
        "consent": dict(work.consent),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
