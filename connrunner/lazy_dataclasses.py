"""Data classes, as `dataclasses` makes them, whose methods are made when one is first used.

The standard library writes and compiles up to nine methods for each class while it is imported: that was more than half
of what a tick, a worker and a command took before they did anything. Here only `__init__` is written, by the first
call of the class; what else a data class can do is shared by all of them. Types are checked as those of `dataclasses`,
whose functions take these classes for their own.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import MISSING, asdict, dataclass, field, fields, replace

__all__ = ["MISSING", "asdict", "dataclass", "field", "fields", "replace"]

_NOTHING: Any = type("NOTHING", (), {"__repr__": lambda _: "<nothing>"})()  # no default
_FIELDS = "__lazy_fields__"
_ORDER = ("__lt__", "__le__", "__gt__", "__ge__")


class _Field:
    """One field: what `dataclasses.field` was told, its name and its type as it is written."""

    __slots__ = ("compare", "default", "default_factory", "hash", "init", "kw_only", "name", "repr", "type")

    def __init__(
        self,
        *,
        default: Any = _NOTHING,
        default_factory: Any = _NOTHING,
        init: bool = True,
        repr: bool = True,  # noqa: A002 - as there
        hash: bool | None = None,  # noqa: A002 - as there
        compare: bool = True,
        kw_only: bool = False,
    ) -> None:
        self.name = self.type = ""
        self.default, self.default_factory, self.kw_only = default, default_factory, kw_only
        self.init, self.repr, self.hash, self.compare = init, repr, hash, compare

    @property
    def is_hashed(self) -> bool:
        return self.compare if self.hash is None else self.hash

    @property
    def is_optional(self) -> bool:
        return self.default is not _NOTHING or self.default_factory is not _NOTHING


def _dataclass(
    cls: Any = None, /, *, frozen: bool = False, kw_only: bool = False, slots: bool = False, order: bool = False
) -> Any:
    """Do what `dataclasses.dataclass` does."""
    if cls is None:
        return lambda cls: _dataclass(cls, frozen=frozen, kw_only=kw_only, slots=slots, order=order)
    inherited = {name: one for base in cls.__mro__[:0:-1] for name, one in base.__dict__.get(_FIELDS, {}).items()}
    own = _read_fields(cls, kw_only=kw_only)
    known = inherited | own
    if slots:
        cls = _with_slots(cls, [name for name in own if name not in inherited], own)
    setattr(cls, _FIELDS, known)
    cls.__dataclass_fields__ = _StandardFields()
    cls._get_compared = _getter([name for name, one in known.items() if one.compare])
    made: dict[str, Any] = {"__init__": _Init(cls, frozen), "__repr__": _repr, "__eq__": _eq}
    made["__match_args__"] = tuple(name for name, one in known.items() if one.init and not one.kw_only)
    if order:
        made |= {name: _make_order(name) for name in _ORDER}
    if frozen:
        cls._get_hashed = _getter([name for name, one in known.items() if one.is_hashed])
        made |= {"__setattr__": _refuse_change, "__delattr__": _refuse_change}
    if frozen and slots:
        made |= {"__getstate__": _get_state, "__setstate__": _set_state}
    defined = cls.__dict__
    hashes = "__hash__" in defined and not (defined["__hash__"] is None and "__eq__" in defined)
    for name, method in made.items():
        if name not in defined:
            setattr(cls, name, method)
    if not hashes:
        cls.__hash__ = _hash if frozen else None
    return cls


def _read_fields(cls: Any, *, kw_only: bool) -> dict[str, _Field]:
    """Return the fields that *cls* itself declares; those with a default leave it as their attribute."""
    found = {}
    for name, kind in cls.__annotations__.items():
        if "ClassVar" in str(kind):
            continue
        said = cls.__dict__.get(name, _NOTHING)
        one = said if isinstance(said, _Field) else _Field(default=said)
        if type(one.default).__hash__ is None:
            raise ValueError(f"mutable default {type(one.default)} for field {name} is not allowed")
        one.name, one.type, one.kw_only = name, kind, one.kw_only or kw_only
        if one.default is not _NOTHING:
            setattr(cls, name, one.default)
        elif said is one:
            delattr(cls, name)
        found[name] = one
    return found


def _with_slots(cls: Any, names: list[str], own: dict[str, _Field]) -> Any:
    """Return *cls* made anew with `__slots__`."""
    left_out = {"__dict__", "__weakref__", *own}
    members = {name: value for name, value in cls.__dict__.items() if name not in left_out}
    new = type(cls)(cls.__name__, cls.__bases__, {**members, "__slots__": tuple(names)})
    new.__qualname__ = cls.__qualname__
    return new


class _Init:
    """Writes the `__init__` of one class when it is asked for, and puts it into its own place."""

    __slots__ = ("frozen", "owner")

    def __init__(self, owner: Any, frozen: bool) -> None:
        self.owner, self.frozen = owner, frozen

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        self.owner.__init__ = made = _write_init(self.owner, self.frozen)
        return made if instance is None else made.__get__(instance)


def _write_init(cls: Any, frozen: bool) -> Any:
    known = getattr(cls, _FIELDS).values()
    names: dict[str, Any] = {"_set": object.__setattr__, "_NOTHING": _NOTHING}
    body = []
    for one in known:
        value = one.name
        if one.default_factory is not _NOTHING:
            names[f"_make_{one.name}"] = one.default_factory
            value = f"_make_{one.name}()" + (f" if {one.name} is _NOTHING else {one.name}" if one.init else "")
        elif not one.init and one.default is _NOTHING:
            continue
        elif one.default is not _NOTHING:
            names[f"_default_{one.name}"] = one.default
            value = one.name if one.init else f"_default_{one.name}"
        body.append(f"_set(self, {one.name!r}, {value})" if frozen else f"self.{one.name} = {value}")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    by_name = [_parameter(one) for one in known if one.init and one.kw_only]
    parameters = ["self", *(_parameter(one) for one in known if one.init and not one.kw_only)]
    head = ", ".join([*parameters, *(["*", *by_name] if by_name else [])])
    exec(f"def __init__({head}):\n " + "\n ".join(body or ["pass"]), names)  # noqa: S102 - the names of our own fields
    made = names["__init__"]
    made.__qualname__, made.__module__ = f"{cls.__qualname__}.__init__", cls.__module__
    return made


def _parameter(one: _Field) -> str:
    if not one.is_optional:
        return one.name
    return f"{one.name}={'_NOTHING' if one.default is _NOTHING else f'_default_{one.name}'}"


class _StandardFields:
    """The fields as `dataclasses` describes them, for its functions and for what asks it."""

    __slots__ = ()

    def __get__(self, instance: Any, owner: Any = None) -> dict[str, Any]:
        import dataclasses

        said = []
        for one in getattr(owner, _FIELDS).values():
            options = {name: getattr(one, name) for name in ("init", "repr", "hash", "compare")}
            options |= {
                name: value for name in ("default", "default_factory") if (value := getattr(one, name)) is not _NOTHING
            }
            said.append((one.name, one.type, dataclasses.field(**options, kw_only=True)))
        standard: Any = dataclasses.make_dataclass(owner.__name__, said)
        owner.__dataclass_fields__ = found = dict(standard.__dataclass_fields__)
        return found


# --- what all of them share ------------------------------------------------------------------------------------------


def _getter(names: list[str]) -> Any:
    if len(names) == 1:
        one = attrgetter(*names)
        return staticmethod(lambda instance: (one(instance),))
    return staticmethod(attrgetter(*names)) if names else staticmethod(lambda _: ())


def _repr(self: Any) -> str:
    shown = (name for name, one in getattr(self, _FIELDS).items() if one.repr)
    return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"


def _eq(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return self._get_compared(self) == self._get_compared(other)


def _hash(self: Any) -> int:
    return hash(self._get_hashed(self))


def _make_order(name: str) -> Any:
    def compare(self: Any, other: Any) -> Any:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return getattr(self._get_compared(self), name)(self._get_compared(other))

    return compare


def _refuse_change(self: Any, name: str, value: object = _NOTHING) -> None:
    if _FIELDS in type(self).__dict__ or name in getattr(self, _FIELDS):
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot {'delete' if value is _NOTHING else 'assign to'} field {name!r}")
    if value is _NOTHING:
        object.__delattr__(self, name)
    else:
        object.__setattr__(self, name, value)


def _get_state(self: Any) -> list[Any]:
    return [getattr(self, name) for name in getattr(self, _FIELDS)]


def _set_state(self: Any, state: list[Any]) -> None:
    for name, value in zip(getattr(self, _FIELDS), state, strict=True):
        object.__setattr__(self, name, value)


def _fields(which: Any) -> tuple[_Field, ...]:
    """Do what `dataclasses.fields` does."""
    return tuple(getattr(which, _FIELDS).values())


def _replace(instance: Any, /, **changes: Any) -> Any:
    """Do what `dataclasses.replace` does."""
    for name, one in getattr(instance, _FIELDS).items():
        if one.init and name not in changes:
            changes[name] = getattr(instance, name)
    return type(instance)(**changes)


def _asdict(instance: Any) -> dict[str, Any]:
    """Do what `dataclasses.asdict` does."""
    import dataclasses

    return dataclasses.asdict(instance)


if not TYPE_CHECKING:
    MISSING = _NOTHING
    asdict, dataclass, field, fields, replace = _asdict, _dataclass, _Field, _fields, _replace
