"""The pages that are derived from the configuration's table: the default file and the reference.

    python -m dbmpi.config > docs/configuration.md
    python -m dbmpi.config toml > dbmpi/config/default.toml

Tests compare what is in these files with what is written here.
"""

import textwrap
from typing import Any

from dbmpi.config.layers import LAYERS
from dbmpi.config.schema import Key, accepts, keys, summary
from dbmpi.config.sections import Config
from dbmpi.config.toml import literal, table

WIDTH = 100  # of the comments in the default file, characters


def default_toml() -> str:
    """Write the commented default file: every key, its sentence, what it accepts, its default."""
    head = (
        "# The default configuration of dbmpi: every key with its default. Copy what you want to change.\n"
        "# A key that has no default is commented out. docs/configuration.md has the same as tables.\n"
    )
    return "\n".join([head, *(_default_section(name, key.kind) for name, key in keys(Config).items())])


def _default_section(path: str, section: Any) -> str:
    lines = [_comment(summary(section)), f"[{path}]"]
    tables: list[str] = []
    for key in keys(section).values():
        if key.table:
            tables.append(_default_section(f"{path}.{key.name}", key.kind))
        elif key.kind is tuple:
            tables.append(_default_layers(path, key))
        else:
            lines += [_comment(_sentence(key)), _assignment(key, key.default)]
    return "\n".join(["\n".join(lines) + "\n", *tables])


def _default_layers(path: str, key: Key) -> str:
    explained = [line for layer in LAYERS.values() for line in _explained(layer)]
    tables = [table(f"{path}.{key.name}", layer, "[[{}]]") for layer in key.default]
    return "\n".join([_comment(key.doc), *explained, "\n".join(tables)])


def _explained(layer: Any) -> list[str]:
    """Describe a type of layer, in comments: there is a table of only one type in the default file."""
    lines = ["#", _comment(summary(layer))]
    for key in keys(layer).values():
        default = "" if key.required or key.name == "type" else f" Default: {literal(key.default)}."
        lines.append(_comment(f"  {key.name}: {_sentence(key)}{default}"))
    return lines


def _assignment(key: Key, value: Any) -> str:
    if value is None:
        return f"# {key.name} = {literal(key.example)}"
    return f"{key.name} = {literal(value)}"


def _sentence(key: Key) -> str:
    unit = f" [{key.unit}]" if key.unit else ""
    return f"{key.doc}{unit} Accepts {accepts(key)}."


def _comment(text: str) -> str:
    indent = "# " + " " * (len(text) - len(text.lstrip()))
    return textwrap.fill(
        text.lstrip(), WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


def markdown() -> str:
    """Write docs/configuration.md: one table of keys for each section."""
    head = (
        "# Configuration\n\n"
        "A run is described by one TOML file and by `--set section.key=value` on the command line, which\n"
        "wins over the file. Every key may be left out but the *required* ones of a layer; the word\n"
        '`"none"` unsets a key that can be *unset*. `python -m dbmpi.train --print-config` shows what a run\n'
        "would use; `dbmpi/config/default.toml` is the same as below, as a file to start from; `examples/`\n"
        "holds whole runs.\n\n"
        "This page is written by `python -m dbmpi.config > docs/configuration.md`.\n"
    )
    return "\n".join([head, *(_page_section(name, key.kind) for name, key in keys(Config).items())])


def _page_section(path: str, section: Any) -> str:
    doc = textwrap.dedent("    " + str(section.__doc__)).strip()
    rows = ["| key | default | unit | accepts | |", "| --- | --- | --- | --- | --- |"]
    tables: list[str] = []
    for key in keys(section).values():
        if key.table:
            tables.append(_page_section(f"{path}.{key.name}", key.kind))
            continue
        rows.append(_row(key))
        if key.kind is tuple:
            tables += [_page_section(f"[{path}.{key.name}]", layer) for layer in LAYERS.values()]
    kind = f", type `{keys(section)['type'].default}`" if section in LAYERS.values() else ""
    return "\n".join([f"## `[{path}]`{kind}\n\n{doc}\n", "\n".join(rows) + "\n", *tables])


def _row(key: Key) -> str:
    if key.kind is tuple:
        default = ", ".join(map(str, key.default))
    elif key.required or key.name == "type":
        default = "*required*"
    else:
        default = "*unset*" if key.default is None else f"`{literal(key.default)}`"
    return f"| `{key.name}` | {default} | {key.unit} | {accepts(key)} | {key.doc} |"
