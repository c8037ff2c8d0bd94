"""Plain values become what annotations say, or the value that is none is named."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isnan, nan
from typing import Annotated, Any, Literal, TypedDict

import pytest

from dbmpi.typed import MOST, Limits, Unlike, build, named


class Table(TypedDict):
    word: int | Literal["auto"]


@dataclass(frozen=True)
class Inner:
    count: int
    epoch: Annotated[int, Limits(-1)] = 0


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(metadata=named("stored"))
    loss: float | None
    any_loss: Annotated[float, Limits(finite=False)] = 0.0
    yes: bool = False
    pairs: Sequence[tuple[int, float]] = ()
    named: dict[str, int] = field(default_factory=dict)
    table: Annotated[Mapping[str, Any], Table] | None = None
    inners: Sequence[Inner] = ()


LEAST = {"stored": {"count": 3}, "loss": None}


def test_what_is_absent_has_its_default():
    assert build(Outer, LEAST, "state") == Outer(Inner(3), None)


def test_values_are_taken_as_they_are_named():
    content = LEAST | {
        "loss": 2, "yes": True, "pairs": [[1, 2], [3, 4.5]], "named": {"a": 1}, "table": {"word": "auto"},
        "inners": [{"count": 1, "epoch": -1}], "any_loss": nan,
    }  # fmt: skip
    built = build(Outer, content, "state")
    assert (built.loss, type(built.loss), built.yes) == (2.0, float, True)
    assert built.pairs == ((1, 2.0), (3, 4.5)) and built.named == {"a": 1} and isnan(built.any_loss)
    assert built.table is content["table"] and built.inners == (Inner(1, -1),)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stored": {}}, "state.stored.count is absent"),
        ({"stored": {"count": 1, "more": 1}}, "state.stored.more is not known"),
        ({"stored": {"count": True}}, "state.stored.count is True"),
        ({"stored": {"count": 1.0}}, "state.stored.count is 1.0"),
        ({"stored": {"count": -1}}, "state.stored.count is -1"),
        ({"stored": {"count": MOST + 1}}, "state.stored.count is 4611"),
        ({"stored": {"count": 1, "epoch": -2}}, "state.stored.epoch is -2"),
        ({"stored": 3}, "state.stored is 3"),
        ({"loss": "x"}, "state.loss is 'x'"),
        ({"loss": nan}, "state.loss is nan"),
        ({"loss": -inf}, "state.loss is -inf"),
        ({"loss": 10**400}, "state.loss is 1000"),
        ({"yes": 1}, "state.yes is 1"),
        ({"pairs": [[1]]}, r"state.pairs\[0\] is \[1\]"),
        ({"pairs": [[1, 2], [1, "x"]]}, r"state.pairs\[1\]\[1\] is 'x'"),
        ({"pairs": {"a": 1}}, "state.pairs is {'a': 1}"),
        ({"named": {"a": "x"}}, "state.named.a is 'x'"),
        ({"named": []}, r"state.named is \[\]"),
        ({"table": {"word": "other"}}, "state.table.word is 'other'"),
        ({"table": {}}, "state.table.word is absent"),
        ({"inners": [{"count": "x"}]}, r"state.inners\[0\].count is 'x'"),
    ],
)
def test_what_is_of_another_kind_is_named(change, said):
    with pytest.raises(Unlike, match=said):
        build(Outer, LEAST | change, "state")
