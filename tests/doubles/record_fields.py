"""What is wrong with records, by the tables of `dbmpi.output.schema`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dbmpi.output.schema import KINDS, VERSION, Field, fields_of

PLAIN = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,), "any": (object,)}


def fits(value: Any, kind: str) -> bool:
    """Return whether a value is of a type of the tables."""
    if kind.endswith("?"):
        return value is None or fits(value, kind[:-1])
    if kind.startswith("["):
        return isinstance(value, list) and all(fits(one, kind[1:-1]) for one in value)
    if kind.startswith("{"):
        return isinstance(value, dict) and all(fits(one, kind[1:-1]) for one in value.values())
    return isinstance(value, PLAIN[kind]) and (kind in ("bool", "any") or not isinstance(value, bool))


def wrong(content: Mapping[str, Any], table: Sequence[Field], version: int = VERSION) -> Iterator[str]:
    """Yield what a table does not say of a content of a version, and what it says that is not there.

    Version 1 grew, so something may be absent there.
    """
    for name, value in content.items():
        found = [one for one in table if one.matches(name) and one.since <= version]
        if not found:
            yield f"{name} is in no table"
        elif not fits(value, found[0].type):
            yield f"{name} = {value!r:.60} is no {found[0].type}"
    for one in table:
        if version > 1 and not one.when and not any(map(one.matches, content)):
            yield f"{one.name} is absent"


def wrong_records(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what is wrong with the records of a run, each judged by the version that its job says."""
    found, version = [], 1
    for record in records:
        if record["kind"] == "job" and record["began"]:
            version = record.get("schema", 1)
        if record["kind"] not in KINDS:
            found.append(f"{record['kind']} is no kind")
            continue
        found += [f"{record['kind']}: {text}" for text in wrong(record, fields_of(record["kind"]), version)]
    return found
