"""What the docs say that can be checked: tables that a command makes, links, and files they name."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def test_the_table_of_boundary_traffic_is_the_plan_s():
    command = [sys.executable, ROOT / "scripts" / "boundary_table.py"]
    table = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert table in (ROOT / "docs" / "images.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    assert not [link for link in links if "://" not in link and not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_scripts_and_examples_that_are_named_exist(page):
    named = re.findall(r"\b(?:scripts|examples|docs|slurm|tests)/[\w./-]+\w", page.read_text())
    assert not [name for name in named if not (ROOT / name).exists()]


def test_every_module_is_in_the_architecture():
    text = (ROOT / "docs" / "architecture.md").read_text()
    modules = {path.stem for path in (ROOT / "dbmpi").glob("*.py")} - {"__init__"}
    assert not sorted(name for name in modules if f"`{name}`" not in text)
