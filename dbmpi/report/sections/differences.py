"""Where the configurations of several runs differ, and what else they ran with. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from dbmpi.config.toml import literal
from dbmpi.report.blocks import Cell, Note, Section, Table
from dbmpi.report.subject import Subject
from dbmpi.text import plain

LONGEST = 80  # characters of a value
UNSET = "unset"


def section(subjects: Sequence[Subject]) -> Section:
    """Return the table of what is not the same in all runs."""
    rows = differences([values(subject) for subject in subjects])
    title = "Where the runs differ"
    if not rows:
        return Section("differences", title, [Note("They have the same configuration, ranks and versions.")])
    head = ["key", *(subject.name for subject in subjects)]
    return Section(
        "differences", title, [Table("Keys with other values in one run than in another", head, rows)]
    )


def differences(tables: Sequence[dict[str, str]]) -> list[list[Cell]]:
    """Return a row for each key whose value is not the same in all tables: the key, and the values."""
    names = list(dict.fromkeys(name for table in tables for name in table))
    rows: list[list[Cell]] = [[name, *(table.get(name) for table in tables)] for name in names]
    return [row for row in rows if len(set(row[1:])) > 1]


def values(subject: Subject) -> dict[str, str]:
    """Return everything a run was told and ran with, by name, as it is written."""
    run, found = subject.run, dict[str, str]()
    if run.config is not None:
        found |= {name: plain(literal_or_text(value), LONGEST) for name, value in _flat(run.config, "")}
    for name in ("equation", "mpi"):
        if isinstance(run.described.get(name), str):
            found[f"run: {name}"] = plain(run.described[name].partition(", package")[0], LONGEST)
    versions = run.described.get("versions")
    for name, version in versions.items() if isinstance(versions, dict) else []:
        found[f"version: {plain(str(name), 30)}"] = plain(str(version), 30)
    nodes = sorted({rank.node for rank in subject.ranks})
    if nodes:
        found["run: nodes"] = plain(", ".join(nodes), LONGEST)
    return found


def literal_or_text(value: Any) -> str:
    """Return a value of the configuration as TOML has it."""
    return UNSET if value is None else literal(value)


def _flat(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the keys of a section, and of those within it, by their dotted names."""
    if is_dataclass(value):
        for one in fields(value):
            yield from _flat(getattr(value, one.name), f"{name}.{one.name}" if name else one.name)
    elif isinstance(value, tuple) and any(map(is_dataclass, value)):
        for i, item in enumerate(value):
            yield from _flat(item, f"{name}[{i}]")
    else:
        yield name, value
