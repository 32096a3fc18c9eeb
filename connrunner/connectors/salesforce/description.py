"""What an object of the org is made of, and whether the columns of a connection fit it: a mistake costs no upload.

The properties of a field are those of "sObject Describe" in the REST API Developer Guide. A field that the user may not
see is absent, as if it did not exist.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from connrunner.connectors.salesforce.org import SalesforceOrg, list_some
from connrunner.core.model import Property, PropertyType
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass
from connrunner.text.words import nearest

MAKE_ONE = "make one in the org, marked External ID and Unique"
COMPOUND = ("address", "location")
_TEXTS = ("string", "textarea", "picklist", "combobox", "encryptedstring", "url", "phone", "email", "id", "reference")
_NUMBERS = ("double", "currency", "percent")
_FITS = {  # the types of fields that take the values of a property
    PropertyType.TEXT: (*_TEXTS, "multipicklist"),
    PropertyType.EMAIL: ("email", "string", "textarea"),
    PropertyType.INTEGER: ("int", "long", *_NUMBERS, "string", "textarea", "phone"),
    PropertyType.DECIMAL: (*_NUMBERS, "string", "textarea"),
    PropertyType.BOOLEAN: ("boolean", "string"),
    PropertyType.DATE: ("date", "string"),
    PropertyType.DATETIME: ("datetime", "string"),
}


@dataclass(frozen=True, kw_only=True)
class ObjectField:
    """One field of an object."""

    name: str
    type: str
    length: int = 0  # characters; 0 is no limit
    nillable: bool = True
    createable: bool = False
    updateable: bool = False
    defaulted: bool = False  # on create, by the org
    external_id: bool = False
    id_lookup: bool = False
    unique: bool = False
    case_sensitive: bool = False
    choices: frozenset[str] | None = None  # of a restricted picklist, those that are active
    refers_to: tuple[str, ...] = ()
    relationship: str = ""

    @property
    def finds_records(self) -> bool:
        """True when an upsert can find records by it."""
        return self.external_id or self.id_lookup


@dataclass(frozen=True, kw_only=True)
class ObjectDescription:
    """An object of the org."""

    name: str
    label: str
    fields: Mapping[str, ObjectField]
    createable: bool = True
    updateable: bool = True
    deletable: bool = True

    @cached_property
    def spellings(self) -> dict[str, str]:
        """The names of the fields by their small letters."""
        return {name.lower(): name for name in self.fields}

    def require(self, name: str, *, key: str) -> ObjectField:
        """Return the field *name*, which the settings have under *key*; RunError with what is meant."""
        if name in self.fields:
            return self.fields[name]
        written = self.spellings.get(name.lower()) or nearest(name, self.fields)
        raise RunError(
            f"{key}: the object {self.name} has no field {name!r} that this user may see",
            hint=f"did you mean {written!r}?" if written else "write its API name, or let the user see it",
            code="unknown-field",
        )

    def follow(self, relationship: str) -> ObjectField | None:
        """Return the field that refers to a parent by the name *relationship*, or None."""
        return next((one for one in self.fields.values() if one.relationship == relationship and relationship), None)

    @property
    def relationships(self) -> list[str]:
        return [one.relationship for one in self.fields.values() if one.relationship]


def describe_object(org: SalesforceOrg, name: str) -> ObjectDescription:
    """Return the object *name* as this user sees it; RunError, with what is meant, when there is none."""
    try:
        data = org.get(f"sobjects/{name}/describe")
    except RunError as error:
        if error.code not in ("not-found", "no-object"):
            raise
        raise org.name_object(name) from None
    if not isinstance(data, dict) or not isinstance(data.get("fields"), list):
        raise RunError(f"{org.address} does not describe the object {name}", code="bad-answer")
    if str(data.get("name")) != name:  # the name is found in any letters, and results are not
        raise RunError(f"the object is called {data.get('name')}", hint="write `object` like that", code="no-object")
    fields = [_read_field(one) for one in data["fields"] if isinstance(one, dict) and one.get("name")]
    return ObjectDescription(
        name=name,
        label=str(data.get("label", name)),
        fields={one.name: one for one in fields},
        createable=data.get("createable", True) is True,
        updateable=data.get("updateable", True) is True,
        deletable=data.get("deletable", True) is True,
    )


def _read_field(data: Mapping[str, Any]) -> ObjectField:
    restricted = data.get("restrictedPicklist") is True
    choices = [str(one.get("value")) for one in data.get("picklistValues") or () if one.get("active", True)]
    return ObjectField(
        name=str(data["name"]),
        type=str(data.get("type", "string")),
        length=int(data.get("length") or 0),
        nillable=data.get("nillable", True) is True,
        createable=data.get("createable") is True,
        updateable=data.get("updateable") is True,
        defaulted=data.get("defaultedOnCreate") is True,
        external_id=data.get("externalId") is True,
        id_lookup=data.get("idLookup") is True,
        unique=data.get("unique") is True,
        case_sensitive=data.get("caseSensitive") is True,
        choices=frozenset(choices) if restricted else None,
        refers_to=tuple(map(str, data.get("referenceTo") or ())),
        relationship=str(data.get("relationshipName") or ""),
    )


# --- the columns of an export ------------------------------------------------------------------------------------


def check_operation(found: ObjectDescription, operation: str, *, deletes: bool) -> None:
    """RunError when this user may not do to the object what the export does."""
    allowed = {
        "insert": found.createable,
        "update": found.updateable,
        "upsert": found.createable and found.updateable,
        "delete": found.deletable,
    }
    if not allowed[operation] or (deletes and not found.deletable):
        what = operation if not allowed[operation] else "delete"
        raise RunError(
            f"this user may not {what} records of {found.name}",
            hint="give it the permission for the object",
            code="forbidden",
        )


def check_external_id(found: ObjectDescription, external_id: str, columns: Collection[str]) -> ObjectField:
    """Return the field by which records are found; RunError when it cannot be one, or is no column."""
    usable = [one.name for one in found.fields.values() if one.external_id]
    which = (
        f"it has {list_some(usable)}" if usable else "it has none: make one in the org, marked External ID and Unique"
    )
    field = found.require(external_id, key="`external_id`")
    if not field.finds_records:
        raise RunError(
            f"`external_id`: {external_id} of {found.name} is no external id, so no record is found by it",
            hint=which,
            code="no-external-id",
        )
    if external_id not in columns:
        raise RunError(
            f"`external_id` is {external_id}, and no column of `fields` is",
            hint=f"add it: `{external_id}: PROPERTY`",
            code="unknown-column",
        )
    return field


def check_written_fields(
    org: SalesforceOrg,
    found: ObjectDescription,
    operation: str,
    columns: Mapping[str, Property],
    clear: Collection[str],
) -> dict[str, ObjectField]:
    """Return the field of each column; RunError for the first that cannot be written, or does not fit."""
    parents: dict[str, ObjectDescription] = {}
    fields = {}
    for column, owner in columns.items():
        fields[column] = _find_column(org, found, column, parents)
        if "." not in column:
            _check_writable(found, fields[column], operation)
        _check_type(column, fields[column], owner)
    for column in clear:
        if column not in columns:
            near = nearest(column, columns)
            hint = f"did you mean {near!r}?" if near else "name a column of `fields`"
            raise RunError(f"`clear` names {column!r}, which is no column", hint=hint, code="unknown-column")
        if "." not in column and not fields[column].nillable:
            raise RunError(
                f"`clear` names {column}, which may not be empty in {found.name}",
                hint="leave it out of `clear`",
                code="not-writable",
            )
    missing = list(_missing(found, columns)) if operation in ("insert", "upsert") else []
    if missing:
        raise RunError(
            f"a new record of {found.name} needs {list_some(missing)}",
            hint="add a column for each to `fields`; to change records only: `operation: update`",
            code="unknown-column",
        )
    return fields


def _find_column(
    org: SalesforceOrg, found: ObjectDescription, column: str, parents: dict[str, ObjectDescription]
) -> ObjectField:
    """Return the field that *column* fills: one of the object, or the external id of a parent.

    `Account.Ext__c` names a parent, and `User:Owner.Ext__c` one that may be of several objects ("Relationship Fields in
    a Header Row" of the Bulk API 2.0 guide, which wants the object there, and nowhere else).
    """
    path, dot, name = column.partition(".")
    if not dot:
        return found.require(column, key="`fields`")
    kind, colon, relationship = path.rpartition(":")
    field = found.follow(relationship)
    if field is None:
        near = nearest(relationship, found.relationships)
        raise RunError(
            f"`fields`: {found.name} has no relationship {relationship!r}",
            hint=f"did you mean {near!r}?" if near else f"there is {list_some(found.relationships)}",
            code="unknown-field",
        )
    parent = _choose_parent(found, field, kind, f"{relationship}.{name}", is_said=bool(colon))
    if parent not in parents:
        parents[parent] = describe_object(org, parent)
    target = parents[parent].require(name, key="`fields`")
    if not target.finds_records:
        raise RunError(
            f"`fields`: {column} names a parent by {name} of {parent}, which is no external id",
            hint="name one that is, or send the id of the parent",
            code="no-external-id",
        )
    return target


def _choose_parent(found: ObjectDescription, field: ObjectField, kind: str, path: str, *, is_said: bool) -> str:
    """Return the object that *field* refers to, in a column that says the object *kind* before its *path*."""
    if len(field.refers_to) == 1:
        if is_said:
            raise RunError(
                f"`fields`: {field.relationship} of {found.name} leads to {field.refers_to[0]} only, "
                f"and a column says the object where there are several",
                hint=f"write {path}",
                code="unknown-field",
            )
        return field.refers_to[0]
    if kind in field.refers_to:
        return kind
    near = nearest(kind, field.refers_to) if is_said else None
    raise RunError(
        f"`fields`: {field.relationship} of {found.name} leads to several objects: {list_some(field.refers_to)}",
        hint=f"write which one: {near or field.refers_to[-1]}:{path}",
        code="unknown-field",
    )


def _check_writable(found: ObjectDescription, field: ObjectField, operation: str) -> None:
    if field.type in COMPOUND:
        parts = [
            one for one in found.fields if one != field.name and one.startswith(field.name.removesuffix("Address"))
        ]
        raise RunError(
            f"`fields`: {field.name} is made of other fields, which are written one by one",
            hint=f"see {list_some(parts)}" if parts else "name those",
            code="not-writable",
        )
    if field.name == "Id":
        if operation == "insert":
            raise RunError("`fields`: a new record has no Id yet", hint="leave it out", code="not-writable")
        return
    right = field.createable if operation == "insert" else field.updateable
    if operation == "upsert":
        right = field.createable and field.updateable
    if operation != "delete" and not right:
        raise RunError(
            f"`fields`: this user may not write {field.name} of {found.name}",
            hint="leave it out, or give the user the permission; formulas and fields of the system are never written",
            code="not-writable",
        )


def _check_type(column: str, field: ObjectField, owner: Property) -> None:
    fits = ("multipicklist", "string", "textarea") if owner.many else _FITS[owner.type]
    if field.type not in fits:
        kind = f"{owner.type.value}{' (many)' if owner.many else ''}"
        raise RunError(
            f"`fields`: {column} is a field of type {field.type}, and {owner.name} holds {kind}",
            hint=f"send it to a field of type {' or '.join(fits[:3])}, or declare the property otherwise",
            code="wrong-type",
        )


def _missing(found: ObjectDescription, columns: Collection[str]) -> Iterator[str]:
    """Yield the fields that a new record cannot do without and that no column fills."""
    by_relationship = {column.partition(".")[0].rpartition(":")[2] for column in columns if "." in column}
    for one in found.fields.values():
        needed = not one.nillable and not one.defaulted and one.createable and one.type != "boolean"
        if needed and one.name not in columns and one.relationship not in by_relationship - {""}:
            yield one.name


# --- the fields of an import -------------------------------------------------------------------------------------


def check_selected_fields(org: SalesforceOrg, found: ObjectDescription, names: Sequence[str]) -> None:
    """RunError for the first of *names* that a query of the object cannot select."""
    parents: dict[str, ObjectDescription] = {}
    for name in names:
        here = found
        *steps, last = name.split(".")
        for step in steps:
            field = here.follow(step)
            if field is None:
                near = nearest(step, here.relationships)
                raise RunError(
                    f"`fields`: {here.name} has no relationship {step!r}",
                    hint=f"did you mean {near!r}?" if near else f"there is {list_some(here.relationships)}",
                    code="unknown-field",
                )
            parent = field.refers_to[0] if len(field.refers_to) == 1 else "Name"
            if parent not in parents:
                parents[parent] = describe_object(org, parent)
            here = parents[parent]
        field = here.require(last, key="`fields`")
        if field.type in COMPOUND:
            raise RunError(
                f"`fields`: {name} is made of other fields, and a bulk query selects those one by one",
                hint="name its parts",
                code="unknown-field",
            )
