"""Plain values, as JSON has them, checked by the annotations of the dataclass that they become. Pure.

    int         from 0 to 2^62: what is stored are counters; `Annotated[int, Limits(-1)]` begins elsewhere
    float       finite; `Annotated[float, Limits(finite=False)]` may be anything
    Mapping     `Annotated[Mapping[str, Any], Shape]` stays a mapping, and is like the TypedDict `Shape`

A field with a default may be absent. Its name may differ from that of the stored value: `named`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from math import inf, isfinite
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

T = TypeVar("T")
MOST = 1 << 62  # of a counter: no sum of two of them overflows 64 bits
SHOWN = 40  # characters of a value in a message


class Unlike(ValueError):
    """A stored value is none of the kind that is expected; the text names it."""


@dataclass(frozen=True)
class Limits:
    """Of a number: the least, and whether it has to be finite."""

    least: float = -inf
    finite: bool = True


def named(name: str) -> dict[str, str]:
    """Return the metadata of a dataclass's field that is stored under another name."""
    return {"stored": name}


def build(kind: type[T], value: Any, name: str) -> T:
    """Return a value as `kind`, a dataclass.

    Parameters
    ----------
    value
        As JSON has it.
    name
        What messages call it.

    Raises
    ------
    Unlike
        The value, or one within it, is of another kind.
    """
    built: T = _built(kind, value, name)
    return built


def _built(kind: Any, value: Any, name: str) -> Any:
    """Return a value of any kind."""
    if is_dataclass(kind):
        return _record(kind, value, name)
    if is_typeddict(kind):
        return _table(kind, value, name)
    if kind in (int, float):
        return _number(kind, value, name, Limits(0 if kind is int else -inf))
    if kind is Any:
        return value
    origin = get_origin(kind)
    if origin is None:
        return value if type(value) is kind else _refuse(value, name)
    return _BY_ORIGIN[origin](get_args(kind), value, name)


def _refuse(value: Any, name: str) -> Any:
    raise Unlike(f"{name} is {repr(value)[:SHOWN]}")


def _number(kind: type, value: Any, name: str, limits: Limits) -> Any:
    """Return a number within limits; a whole one may stand for any."""
    right = type(value) is int or (kind is float and type(value) is float)
    if not right or value < limits.least or (type(value) is int and value > MOST):
        return _refuse(value, name)
    if limits.finite and not isfinite(value):
        return _refuse(value, name)
    return kind(value)


def _record(kind: Any, value: Any, name: str) -> Any:
    """Return a dataclass of a mapping."""
    hints = get_type_hints(kind, include_extras=True)
    stored = {field.metadata.get("stored", field.name): field for field in fields(kind)}
    _check_names(value, name, stored, [one for one, field in stored.items() if not _optional(field)])
    return kind(
        **{
            field.name: _built(hints[field.name], value[one], f"{name}.{one}")
            for one, field in stored.items()
            if one in value
        }
    )


def _optional(field: "Field[Any]") -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _table(kind: Any, value: Any, name: str) -> Any:
    """Return a mapping that is like a TypedDict."""
    hints = get_type_hints(kind, include_extras=True)
    _check_names(value, name, hints, kind.__required_keys__)
    return {one: _built(hints[one], content, f"{name}.{one}") for one, content in value.items()}


def _check_names(value: Any, name: str, known: Iterable[str], required: Iterable[str]) -> None:
    if not isinstance(value, Mapping):
        _refuse(value, name)
    if absent := [one for one in required if one not in value]:
        raise Unlike(f"{name}.{absent[0]} is absent")
    if unknown := [one for one in value if one not in known]:
        raise Unlike(f"{name}.{unknown[0]} is not known")


def _annotated(arguments: Sequence[Any], value: Any, name: str) -> Any:
    kind, more = arguments
    if isinstance(more, Limits):
        return _number(kind, value, name, more)
    _built(more, value, name)
    return value


def _either(arguments: Sequence[Any], value: Any, name: str) -> Any:
    """Return the first of several kinds that the value is; the last one says what is wrong."""
    kinds = sorted(arguments, key=lambda kind: kind is not type(None))
    for kind in kinds[:-1]:
        with suppress(Unlike):  # the value may be of the next one
            return _built(kind, value, name)
    return _built(kinds[-1], value, name)


def _listed(arguments: Sequence[Any], value: Any, name: str) -> Any:
    if not isinstance(value, list | tuple):
        return _refuse(value, name)
    return tuple(_built(arguments[0], one, f"{name}[{i}]") for i, one in enumerate(value))


def _tuple(arguments: Sequence[Any], value: Any, name: str) -> Any:
    if not isinstance(value, list | tuple) or len(value) != len(arguments):
        return _refuse(value, name)
    pairs = zip(arguments, value, strict=True)
    return tuple(_built(kind, one, f"{name}[{i}]") for i, (kind, one) in enumerate(pairs))


def _mapping(arguments: Sequence[Any], value: Any, name: str) -> Any:
    if not isinstance(value, Mapping):
        return _refuse(value, name)
    return {one: _built(arguments[1], content, f"{name}.{one}") for one, content in value.items()}


def _literal(arguments: Sequence[Any], value: Any, name: str) -> Any:
    return value if isinstance(value, str) and value in arguments else _refuse(value, name)


_BY_ORIGIN: dict[Any, Callable[[Sequence[Any], Any, str], Any]] = {
    Annotated: _annotated,
    Union: _either,
    UnionType: _either,
    Literal: _literal,
    Sequence: _listed,
    list: lambda arguments, value, name: list(_listed(arguments, value, name)),
    tuple: _tuple,
    Mapping: _mapping,
    dict: _mapping,
}
