"""Which run of a lane starts first: slots, kinds, names, and `after`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connrunner.config.after import Placed, find_wrong_places
from connrunner.core.connection_index import EXPORT, IMPORT, ConnectionIndex
from connrunner.core.model import Command, Connection, Export, Format, Import, Manual, QueuedRun, Work
from connrunner.core.planning import forecast
from connrunner.core.planning.queue_order import predict_slot, sort_queue, sort_slots

SIX = datetime(2026, 12, 1, 6, 0, tzinfo=UTC)
SEVEN = SIX + timedelta(hours=1)
LATER = SEVEN + timedelta(minutes=1)
KINDS: dict[str, Work] = {
    "import": Import(source={}, format=Format(), match=(), fields=()),
    "command": Command(run=("true",)),
    "export": Export(destination={}, format=Format(), fields={}),
}


def connection(name: str, kind: str = "command", after: tuple[str, ...] = (), lane: str = "main") -> Connection:
    return Connection(
        name=name, title=name, schedule=Manual(), work=KINDS[kind], after=after, lane=lane, timeout=60, document={},
        fingerprint="",
    )  # fmt: skip


def order(due: Mapping[str, datetime], *known: Connection) -> list[str]:
    connections = {one.name: one for one in known}
    entries = [QueuedRun(connection=name, due_at=due_at, queued_at=due_at) for name, due_at in due.items()]
    found = [entry.connection for entry in sort_queue(entries, connections)]
    # The forecast starts them in the same order when all are due at once or have waited.
    slots = [predict_slot(name, due_at, connections) for name, due_at in due.items()]
    visits = forecast.simulate(slots, dict.fromkeys(due, 60.0), now=SEVEN, busy={"main": ("x", LATER)})
    assert [visit.connection for visit in visits] == found
    return found


@pytest.mark.parametrize("kinds", list(product(KINDS, repeat=3)), ids="-".join)
@pytest.mark.parametrize("names", list(permutations("abc")), ids="".join)
def test_what_is_due_together_goes_by_kind_and_then_by_name(kinds: tuple[str, ...], names: tuple[str, ...]) -> None:
    known = [connection(name, kind) for name, kind in zip(names, kinds, strict=True)]
    expected = [name for kind in KINDS for name in sorted(one.name for one in known if one.kind == kind)]

    assert order(dict.fromkeys(names, SIX), *known) == expected
    assert sort_slots([(SIX, name) for name in names], {one.name: one for one in known}) == [
        (SIX, name) for name in expected
    ]


ORDERS = [
    # what is known                                                        due                       the order
    ((connection("a", "export"), connection("b", "import")),               {"a": SIX, "b": SEVEN},   "ab"),  # the older slot
    ((connection("a", "export"),),                                         {"a": SIX, "b": SIX},     "ba"),  # b: no sound file
    ((connection("a", after=("b",)), connection("b")),                     {"a": SIX, "b": SIX},     "ba"),
    ((connection("a", after=("b",)), connection("b")),                     {"a": SIX, "b": SEVEN},   "ba"),
    ((connection("a", "import", ("b",)), connection("b", "export")),       {"a": SIX, "b": SIX},     "ba"),
    ((connection("a", after=("b",)), connection("b"), connection("c")),    {"a": SIX, "c": SIX},     "ac"),  # b is not queued
    ((connection("a", after=("b",)), connection("b", after=("c",)), connection("c")),
                                                                           {"a": SIX, "b": SIX, "c": SEVEN}, "cba"),
    ((connection("a", after=("b",)), connection("b", after=("c",)), connection("c")),
                                                                           {"a": SIX, "c": SEVEN},   "ac"),  # not through what is not queued
    ((connection("a", after=("c", "d")), connection("b"), connection("c"), connection("d")),
                                                                           dict.fromkeys("abcd", SIX), "bcda"),
]  # fmt: skip


@pytest.mark.parametrize(("known", "due", "expected"), ORDERS)
def test_the_order_of_a_queue(known: tuple[Connection, ...], due: dict[str, datetime], expected: str) -> None:
    for names in permutations(due):
        assert "".join(order({name: due[name] for name in names}, *known)) == expected


@given(st.data())
def test_each_run_stands_in_the_queue_once_and_behind_those_that_it_names(data: st.DataObject) -> None:
    names = "abcdef"
    known = [
        connection(
            name, data.draw(st.sampled_from(sorted(KINDS))), tuple(data.draw(st.sets(st.sampled_from(names[:at]))))
        )
        if at
        else connection(name)
        for at, name in enumerate(names)
    ]
    due = {
        name: SIX + timedelta(minutes=data.draw(st.integers(0, 2)))
        for name in data.draw(st.sets(st.sampled_from(names)))
    }

    found = order(due, *known) if due else []

    assert sorted(found) == sorted(due)
    for one in known:
        for other in {*one.after} & {*due}:
            assert one.name not in due or found.index(other) < found.index(one.name)


PLACES = [
    # name -> lane, after                                     what is wrong: name, words
    ({"a": ("main", ("b",)), "b": ("main", ())},              []),
    ({"alpha": ("main", ("betta",)), "beta": ("main", ())},   [("alpha", "unknown connection 'betta'")]),
    ({"a": ("main", ("b",)), "b": ("side", ())},              [("a", "'b' waits in lane 'side', and this one in 'main'")]),
    ({"a": ("main", ("a",))},                                 [("a", "a -> a")]),
    ({"a": ("main", ("b",)), "b": ("main", ("a",)), "c": ("main", ("a",))},
                                                              [("a", "a -> b -> a"), ("b", "b -> a -> b")]),
    ({"a": ("main", ("b", "c")), "b": ("main", ("c",)), "c": ("main", ("a",))},
                                                              [("a", "a -> b -> c -> a"), ("a", "a -> c -> a"),
                                                               ("b", "b -> c -> a -> b"), ("c", "c -> a -> c")]),
]  # fmt: skip


@pytest.mark.parametrize(("places", "expected"), PLACES)
def test_what_cannot_be_obeyed(places: dict[str, tuple[str, tuple[str, ...]]], expected: list[tuple[str, str]]) -> None:
    known = {name: Placed(lane=lane, after=after, is_list=True) for name, (lane, after) in places.items()}

    found = [(name, finding.message) for name, finding in find_wrong_places(known, known)]

    assert [name for name, _ in found] == [name for name, _ in expected]
    for (_, message), (_, words) in zip(found, expected, strict=True):
        assert message.endswith(words)


def test_each_of_many_slots_is_asked_about_once_and_built_never() -> None:
    asked: list[str] = []

    class Counted(ConnectionIndex):
        def read_traits(self, name: str) -> str:
            asked.append(name)
            return super().read_traits(name)

    def build(name: str) -> Connection:
        raise AssertionError(name)

    kinds = {"e": EXPORT, "c": "", "i": IMPORT}
    known = Counted(
        {f"{kind}{number:03}": kinds[kind] for kind in kinds for number in range(100)}, build, lambda _: {}, {}
    )
    slots = [(SIX + timedelta(minutes=int(name[1:]) // 10), name) for name in known]
    expected = sorted(slots, key=lambda slot: (slot[0], "ice".index(slot[1][0]), slot[1]))
    assert sort_slots(slots, known) == expected
    assert sorted(asked) == sorted(known)
    asked.clear()
    entries = [QueuedRun(connection=name, due_at=due_at, queued_at=due_at) for due_at, name in slots]
    assert [(entry.due_at, entry.connection) for entry in sort_queue(entries, known)] == expected
    assert sorted(asked) == sorted(known)
