"""Data classes whose methods are made late behave as those of the standard library."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import inspect
import pickle
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

import connrunner
from connrunner import lazy_dataclasses

LIBRARIES: tuple[Any, ...] = (dataclasses, lazy_dataclasses)


def classes(library: Any) -> dict[str, Any]:
    """Return one class of each kind that the package has, made by *library*."""

    @library.dataclass(frozen=True, kw_only=True, slots=True)
    class Value:
        """Said by the class."""

        number: int
        words: list[str] = library.field(default_factory=list)
        secret: str = library.field(default="hidden", repr=False)
        about: dict[str, str] = library.field(default_factory=dict, hash=False)
        KIND: ClassVar[str] = "a kind"

        @property
        def doubled(self) -> int:
            return self.number * 2

    @library.dataclass(frozen=True, slots=True, order=True)
    class Place:
        path: str
        line: int = 1
        hint: str = library.field(default="", compare=False)

    @library.dataclass(slots=True)
    class Counter:
        name: str
        seen: set[str] = library.field(default_factory=set)
        total: int = library.field(init=False)
        width: int = library.field(default=3, kw_only=True)

        def __post_init__(self) -> None:
            self.total = len(self.seen)

    @library.dataclass(frozen=True)
    class Base:
        first: int
        second: int = 2

    @library.dataclass(frozen=True)
    class Derived(Base):
        third: int = 3

    @library.dataclass
    class Own:
        name: str

        def __repr__(self) -> str:
            return f"<{self.name}>"

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Own)

        def __hash__(self) -> int:
            return 7

    @library.dataclass(frozen=True, slots=True)
    class Nothing:
        pass

    class Plain(Base):
        """No data class itself."""

    kinds = (Value, Place, Counter, Base, Derived, Own, Nothing, Plain)
    return {kind.__name__: kind for kind in kinds}


def said(do: Callable[[dict[str, Any], Any], Any], library: Any) -> str:
    """Return what *do* comes to with the classes of *library*, or how it fails."""
    try:
        return repr(do(classes(library), library))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


DEEDS: dict[str, Callable[[dict[str, Any], Any], Any]] = {
    "made": lambda c, _: (c["Value"](number=1), c["Place"]("a"), c["Counter"]("b", {"x"}), c["Derived"](1), c["Own"]("n")),
    "empty": lambda c, _: (c["Nothing"](), c["Nothing"]() == c["Nothing"](), hash(c["Nothing"]()) is not None),
    "missing": lambda c, _: c["Place"](),
    "two missing by name": lambda c, _: c["Value"](),
    "unknown": lambda c, _: c["Place"]("a", colour=1),
    "by position": lambda c, _: c["Value"](1),
    "too many": lambda c, _: c["Place"]("a", 1, "b", 2),
    "equal": lambda c, _: (c["Place"]("a", hint="x") == c["Place"]("a"), c["Base"](1) == c["Derived"](1), c["Base"](1) == 1),
    "unequal": lambda c, _: (c["Place"]("a") != c["Place"]("b"), c["Counter"]("a") != c["Counter"]("a")),
    "ordered": lambda c, _: sorted([c["Place"]("b"), c["Place"]("a", 2), c["Place"]("a")]),
    "ordered otherwise": lambda c, _: c["Place"]("b") < 3,
    "least and greatest": lambda c, _: (c["Place"]("a") <= c["Place"]("a"), c["Place"]("a") > c["Place"]("b")),
    "hashed": lambda c, _: len({c["Place"]("a"), c["Place"]("a", hint="x"), c["Place"]("b")}),
    "hashed in part": lambda c, _: hash(c["Value"](number=1, words=())) == hash(c["Value"](number=1, words=(), about={"a": "b"})),
    "unhashable": lambda c, _: hash(c["Counter"]("a")),
    "own methods": lambda c, _: (hash(c["Own"]("a")), c["Own"]("a") == c["Own"]("b")),
    "assigned": lambda c, _: setattr(c["Place"]("a"), "path", "b"),
    "assigned what is none": lambda c, _: setattr(c["Base"](1), "other", "b"),
    "deleted": lambda c, _: delattr(c["Place"]("a"), "path"),
    "assigned below": lambda c, _: setattr(c["Plain"](1), "first", 2),
    "assigned an own one below": lambda c, _: setattr(c["Plain"](1), "other", 2),
    "with slots": lambda c, _: (hasattr(c["Value"](number=1), "__dict__"), c["Value"].__slots__, c["Value"](number=4).doubled),
    "changed": lambda c, _: c["Counter"]("a").__class__.__setattr__(c["Counter"]("a"), "name", "b"),
    "replaced": lambda c, library: library.replace(c["Value"](number=1, words=["a"]), number=2),
    "replaced wrongly": lambda c, library: library.replace(c["Place"]("a"), colour=2),
    "as a mapping": lambda c, library: library.asdict(c["Value"](number=1, words=[c["Place"]("a")])),
    "names": lambda c, library: [one.name for one in library.fields(c["Derived"])],
    "defaults": lambda c, library: [one.default for one in library.fields(c["Derived"]) if one.name != "first"],
    "in the library": lambda c, _: [(one.name, one.init, one.repr, one.type) for one in dataclasses.fields(c["Value"])],
    "replaced by the library": lambda c, _: dataclasses.replace(c["Derived"](1), second=5),
    "is one": lambda c, _: [dataclasses.is_dataclass(one) for one in c.values()],
    "of the class": lambda c, _: (c["Place"].line if hasattr(c["Place"], "line") else None, c["Base"].second, c["Value"].KIND),
    "copied": lambda c, _: (copy.copy(c["Place"]("a", 7)), copy.deepcopy(c["Value"](number=1, words=["x"]))),
    "matched": lambda c, _: [kind.__match_args__ for kind in c.values()],
    "signature": lambda c, _: [list(inspect.signature(kind).parameters) for kind in c.values()],
    "names of the class": lambda c, _: (c["Value"].__qualname__, c["Value"].__doc__, c["Own"].__qualname__),
    "below": lambda c, _: c["Plain"](1),
}  # fmt: skip


@pytest.mark.parametrize("name", DEEDS)
def test_both_do_the_same(name: str) -> None:
    assert said(DEEDS[name], lazy_dataclasses) == said(DEEDS[name], dataclasses)


@lazy_dataclasses.dataclass(frozen=True, slots=True)
class Kept:
    name: str


def test_one_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(Kept("a"))) == Kept("a")


def test_a_default_that_all_would_share_is_refused() -> None:
    for library in LIBRARIES:
        with pytest.raises(ValueError, match="mutable default"):

            @library.dataclass
            class Shared:
                names: list[str] = []  # noqa: RUF012 - that is the point


def every_class() -> Iterator[type]:
    for module in pkgutil.walk_packages(connrunner.__path__, "connrunner."):
        if module.name.endswith("__main__"):
            continue
        for one in vars(importlib.import_module(module.name)).values():
            if isinstance(one, type) and one.__module__ == module.name and "__lazy_fields__" in vars(one):
                yield one


@pytest.mark.slow
def test_the_methods_of_every_class_can_be_made() -> None:
    found = list(every_class())
    assert len(found) > 300
    for one in found:
        assert inspect.signature(one) is not None, one
