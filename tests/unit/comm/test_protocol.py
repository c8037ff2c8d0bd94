"""The table of messages: complete, and what it names is there."""

import ast
import re

from dbmpi.comm import protocol
from dbmpi.comm.protocol import Tag
from tests import ROOT

HANDLED_IN = re.compile(r"  ([a-z_.]+):([a-z_]+)$", re.MULTILINE)


def test_every_tag_has_a_row():
    rows = {line.split()[0] for line in (protocol.__doc__ or "").splitlines() if line.startswith("    ")}
    assert {tag.name for tag in Tag} <= rows
    for name in ("boundary_tag", "LEAD_TAG", "mirror_tag", "EMERGENCY_TAG"):
        assert name in rows and hasattr(protocol, name)


def test_the_functions_that_take_messages_exist():
    named = HANDLED_IN.findall(protocol.__doc__ or "")
    assert len(named) >= len(Tag)
    for module, function in named:
        tree = ast.parse((ROOT / "dbmpi" / f"{module.replace('.', '/')}.py").read_text())
        assert function in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, module


def test_layouts_in_the_table_are_those_of_the_module():
    rows = [line.split() for line in (protocol.__doc__ or "").splitlines() if line.startswith("    ")]
    layouts = {row[1] for row in rows if len(row) > 1 and row[1].isupper() and row[0] in Tag.__members__}
    assert layouts and all(hasattr(protocol, layout) for layout in layouts)
