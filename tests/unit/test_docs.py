"""What the docs say that can be checked: tables that a command makes, links, and files they name."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dbmpi
from dbmpi import errors
from dbmpi.errors import STATUSES
from tests import ROOT

PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
]

# Programs that users do not call: the pages of the configuration are made by one, the other watches a start.
UNTOLD = {"dbmpi.config", "dbmpi.output", "dbmpi.run.start.sentinel"}


def test_the_table_of_boundary_traffic_is_that_of_the_plan():
    command = [sys.executable, ROOT / "scripts" / "boundary_table.py"]
    table = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert table in (ROOT / "docs" / "images.md").read_text()


def test_every_exit_status_is_told():
    for page in ("README.md", "docs/statuses.md"):
        text = (ROOT / page).read_text()
        assert not [one for one in STATUSES.items() if "| {} | {} |".format(*one) not in text]
    given = {str(value) for name, value in vars(errors).items() if name.startswith("STATUS_")}
    assert len(given) > 7 and given <= STATUSES.keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    assert not [link for link in links if "://" not in link and not (page.parent / link).exists()]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as they are made from their texts."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_anchors_are_headings(page):
    links = re.findall(r"\]\(([^)#:]*)#([\w-]+)\)", page.read_text())
    assert not [link for link in links if link[1] not in anchors(page.parent / link[0] if link[0] else page)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
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


def definitions() -> dict[str, set[str]]:
    """Return what modules (`minimize`, `sandblaster.minimize`) and classes define, by the names of these."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "dbmpi").rglob("*.py"):
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if hasattr(node, "name")]
        within = path.relative_to(ROOT / "dbmpi").with_suffix("").parts
        for owner in (path.stem, ".".join(["dbmpi", *within][-2:]), ".".join(within)):
            found.setdefault(owner, set()).update(node.name for node in nodes)
        for node in nodes:
            inner = {one.name for one in getattr(node, "body", []) if hasattr(one, "name")}
            found.setdefault(node.name, set()).update(inner)
    return found


def test_the_functions_that_the_architecture_names_exist():
    known, keys = definitions(), (ROOT / "docs" / "configuration.md").read_text()
    names = re.findall(r"`((?:\w+\.)+\w+)`", (ROOT / "docs" / "architecture.md").read_text())
    assert len(names) > 60
    for name in names:
        owner, _, last = name.rpartition(".")
        module, _, cls = owner.rpartition(".")
        defined = last in known.get(cls, ()) and (not module or module in known)
        is_module = name in known and (ROOT / "dbmpi" / owner.replace(".", "/")).is_dir()
        is_key = f"## `[{owner}]`" in keys and f"| `{last}` |" in keys
        in_kernels = (ROOT / name.replace(".", "/")).with_suffix(".py").exists()
        assert defined or last in known.get(owner, ()) or is_module or is_key or in_kernels, name


def template(node: ast.expr | None) -> str:
    """Return a text of the code, with … for what is filled in; empty where there is none."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(template(part) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return ""


def texts() -> set[str]:
    """Return every text of the code."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / "dbmpi").rglob("*.py")]
    found = [template(node) for tree in trees for node in ast.walk(tree) if isinstance(node, ast.expr)]
    return {text.replace("\n", " ") for text in found}


def has(text: str, parts: list[str]) -> bool:
    """Tell whether a text has these parts, one after another."""
    for part in parts:
        _, found, text = text.partition(part)
        if found != part:
            return False
    return True


def test_messages_of_the_troubleshooting_are_in_the_code():
    page = (ROOT / "docs" / "troubleshooting.md").read_text().partition("## Messages of others")[0]
    messages = re.findall(r"^\| `([^`]+)`", page, re.MULTILINE)
    assert len(messages) > 40
    said = texts()
    for message in messages:
        parts = [part.strip() for part in message.removeprefix("dbmpi: ").split("…") if part.strip()]
        assert any(has(text, parts) for text in said), message


def test_the_citation_is_of_this_version():
    assert f"\nversion: {dbmpi.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_every_command_is_told():
    page = (ROOT / "docs" / "commands.md").read_text()
    commands = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
        for path in (ROOT / "dbmpi").rglob("*.py")
        if '__name__ == "__main__"' in path.read_text()
    }
    assert not [one for one in commands - UNTOLD if f"python -m {one} --help" not in page]
