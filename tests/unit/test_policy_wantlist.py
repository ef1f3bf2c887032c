"""A peer's wants: in its order, within bounds, and gone once they are cancelled."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hausd.policy.wantlist import Wantlist

names = st.integers(0, 9).map(lambda number: b"%d" % number)
steps = st.lists(
    st.tuples(st.sampled_from(["add", "cancel", "pop", "clear"]), names, st.integers(-3, 3)),
    max_size=200,
)


@given(steps)
def test_it_does_what_a_sorted_list_would(said: list[tuple[str, bytes, int]]) -> None:
    wants: Wantlist[int] = Wantlist(most=5)
    model: dict[bytes, tuple[int, int]] = {}
    for at, (what, name, priority) in enumerate(said):
        match what:
            case "add":
                fits = name in model or len(model) < 5
                assert wants.add(name, priority, at) is fits
                if fits:
                    model[name] = (-priority, at)
            case "cancel":
                wants.cancel(name)
                model.pop(name, None)
            case "clear":
                wants.clear()
                model.clear()
            case "pop":
                first = min(model, key=model.__getitem__, default=None)
                expected = model.pop(first)[1] if first is not None else None
                assert wants.pop() == expected
        assert len(wants) == len(model)
        assert len(wants._order) <= 11


def test_the_same_want_again_and_again_takes_no_more_room() -> None:
    wants: Wantlist[int] = Wantlist(most=3)
    for number in range(10_000):
        assert wants.add(b"one", number % 5, number)
        wants.cancel(b"one")
    assert len(wants._order) <= 7
    assert wants.pop() is None
