"""What the docs say that can be checked: tables that a command makes, links, and files they name."""

import re
import subprocess
import sys

import pytest

from tests import ROOT

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


def packages() -> dict[str, list[str]]:
    """Return the modules of each package of dbmpi and kernels, by its path: `dbmpi/config`."""
    found: dict[str, list[str]] = {}
    for top in ("dbmpi", "kernels"):
        for path in sorted((ROOT / top).rglob("*.py")):
            if not path.name.startswith("__"):
                found.setdefault(str(path.parent.relative_to(ROOT)), []).append(path.stem)
    return found


def test_every_module_is_in_the_architecture():
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = {row[1]: row[0] for row in re.finditer(r"^\| `([\w/]+)` \|.*$", text, re.MULTILINE)}
    assert len(packages()) > 15
    assert sorted(packages()) == sorted(rows)
    missing = [
        f"{at}/{name}" for at, names in packages().items() for name in names if f"`{name}`" not in rows[at]
    ]
    assert not missing
