"""docs/diagnosis.md has the thresholds of the code, and remedies name keys that there are."""

import ast
import re
from pathlib import Path

import pytest

from tests import ROOT

PAGE = ROOT / "docs" / "diagnosis.md"
MODULES = sorted(path for path in (ROOT / "dbmpi" / "diagnosis").glob("*.py") if path.stem != "__init__")
SECTIONS = "data|model|cluster|train|downpour|sandblaster|evaluation|checkpoint|output"


def test_the_page_has_each_threshold_with_its_reason():
    page = PAGE.read_text().partition("## How well it does")[0]
    told = set(re.findall(r"^\| `\w+\.[A-Z_]+` \|.*\|$", page, re.MULTILINE))
    constants = {
        f"| `{path.stem}.{name}` | {value} | {why} |"
        for path in MODULES
        for name, value, why in re.findall(
            r"^([A-Z_]+) = ([\d.e-]+)  # (.*)$", path.read_text(), re.MULTILINE
        )
    }
    assert len(constants) > 30
    assert told == constants


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_number_with_a_name_has_its_reason_beside_it(path):
    lines = path.read_text().splitlines()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            number = isinstance(node.value.value, int | float)
            assert not number or "  # " in lines[node.lineno - 1], lines[node.lineno - 1]


def texts(path: Path) -> str:
    """Return a page, or the texts of a module."""
    content = path.read_text()
    if path.suffix == ".md":
        return content
    return "\n".join(
        str(node.value) for node in ast.walk(ast.parse(content)) if isinstance(node, ast.Constant)
    )


@pytest.mark.parametrize("path", [*MODULES, PAGE], ids=lambda path: path.stem)
def test_keys_that_are_named_exist(path):
    page = (ROOT / "docs" / "configuration.md").read_text()
    for section, key in re.findall(rf"\b((?:{SECTIONS})(?:\.(?:warmstart|schedule))?)\.(\w+)", texts(path)):
        part = re.search(rf"## `\[{section}\]`(.*?)(?:^## |\Z)", page, re.DOTALL | re.MULTILINE)
        assert part is not None and f"| `{key}` |" in part[1], f"{section}.{key}"
