"""A configuration written as TOML, which gives it back when it is read."""

import dataclasses
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dbmpi.config.sections import Config


def to_toml(config: "Config") -> str:
    """Write the resolved configuration as a TOML file that gives it back; unset keys are left out."""
    return "\n".join(table(name, section) for name, section in vars(config).items())


def table(path: str, section: Any, brackets: str = "[{}]") -> str:
    """Write one section and its subtables; `brackets` as of a table or of an array of tables."""
    values = {name: value for name, value in vars(section).items() if value is not None}
    arrays = {name: value for name, value in values.items() if _is_array_of_tables(value)}
    tables = {name: value for name, value in values.items() if dataclasses.is_dataclass(value)}
    lines = [brackets.format(path)]
    lines += [f"{n} = {literal(v)}" for n, v in values.items() if n not in arrays and n not in tables]
    parts = [table(f"{path}.{name}", value) for name, value in tables.items()]
    parts += [table(f"{path}.{name}", item, "[[{}]]") for name, value in arrays.items() for item in value]
    return "\n".join(["\n".join(lines) + "\n", *parts])


def _is_array_of_tables(value: Any) -> bool:
    return isinstance(value, tuple) and any(map(dataclasses.is_dataclass, value))


def literal(value: Any) -> str:
    """Write a scalar or a pair as TOML. JSON's strings are TOML's, but for one control character."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, str | bool):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
