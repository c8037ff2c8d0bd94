"""What a run was told, and what it ran with: configuration, versions, data. Pure."""

from collections.abc import Sequence

from dbmpi.config.toml import to_toml
from dbmpi.report.blocks import Block, Cell, Code, Section, Table
from dbmpi.report.subject import Subject
from dbmpi.text import plain

LONGEST = 60_000  # characters of a configuration


def section(subject: Subject) -> Section | None:
    """Return the configuration and the table of versions; None where neither can be read."""
    run = subject.run
    rows: list[Sequence[Cell]] = [["directory", plain(str(run.path))]]
    for name in ("source", "seed", "resumed_from", "mpi", "launched"):
        if run.described.get(name) not in (None, ""):
            rows.append([name.replace("_", " "), plain(str(run.described[name]))])
    versions = run.described.get("versions")
    for name, version in list(versions.items())[:20] if isinstance(versions, dict) else []:
        rows.append([plain(str(name), 40), plain(str(version), 80)])
    blocks: list[Block] = [Table("What it ran with", ["", ""], rows)]
    if run.config is not None:
        blocks.append(Code("Configuration, every key", to_toml(run.config)[:LONGEST]))
    return Section("setting", "Configuration and versions", blocks)
