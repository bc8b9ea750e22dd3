"""Keys that several service ports claim, compared with a model that remembers every claim."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kproxy.backend.claims import Change, Claims
from kproxy.forwarding.plan import ServicePortName

NAMES = [ServicePortName("default", name, "http", "TCP") for name in "abc"]
Wanted = dict[str, int]

FIRST, SECOND, THIRD = NAMES

wanted = st.dictionaries(st.sampled_from("xyz"), st.integers(1, 2))
# What one service port wants from now on, and whether the net effect is asked for after that.
steps = st.lists(st.tuples(st.sampled_from(NAMES), wanted, st.booleans()), max_size=30)


def owned(claims: dict[ServicePortName, Wanted]) -> Wanted:
    """The first by name has it."""
    values: Wanted = {}
    for name in sorted(claims, reverse=True):
        values |= claims[name]
    return values


@given(steps)
def test_the_first_by_name_has_it_and_only_the_net_effect_is_told(
    history: list[tuple[ServicePortName, Wanted, bool]],
) -> None:
    claims: Claims[str, int] = Claims()
    model: dict[ServicePortName, Wanted] = {}
    told: Wanted = {}
    for name, fresh, asked in [*history, (FIRST, {}, True)]:
        claims.change(name, model.get(name, {}), fresh)
        model[name] = fresh
        now = owned(model)
        assert {key: claims.get(key) for key in "xyz"} == {key: now.get(key) for key in "xyz"}
        assert claims.keys() == now.keys()
        if asked:
            changes = claims.take_changes()
            assert {change.key: (change.before, change.after) for change in changes} == {
                key: (told.get(key), now.get(key)) for key in "xyz" if told.get(key) != now.get(key)
            }
            assert len({change.key for change in changes}) == len(changes)
            told = now


def test_who_comes_later_may_be_the_first_by_name() -> None:
    claims: Claims[str, int] = Claims()
    claims.change(SECOND, {}, {"x": 2})
    assert claims.take_changes() == [Change("x", None, 2)]
    claims.change(FIRST, {}, {"x": 1})
    claims.change(THIRD, {}, {"x": 3})
    assert claims.take_changes() == [Change("x", 2, 1)]
    claims.change(FIRST, {"x": 1}, {})
    assert claims.take_changes() == [Change("x", 1, 2)]
    claims.change(SECOND, {"x": 2}, {"x": 3})
    assert claims.take_changes() == [Change("x", 2, 3)]
    claims.change(SECOND, {"x": 3}, {})  # the third says the same
    assert claims.take_changes() == []
    claims.change(THIRD, {"x": 3}, {})
    assert claims.take_changes() == [Change("x", 3, None)]


def test_what_is_undone_between_two_takings_is_no_change() -> None:
    claims: Claims[str, int] = Claims()
    claims.change(FIRST, {}, {"x": 1})
    claims.change(FIRST, {"x": 1}, {})
    assert claims.take_changes() == []
