"""Where the site is more than the files of docs/: an extension of Sphinx.

Every page is plain Markdown that a forge shows as well. Three things are made when the site is built:

* the tree of pages, of the lists of links in index.md; a page that none of them names goes to Reference;
* README.md, CONTRIBUTING.md and CHANGELOG.md, which lie outside of docs/, as the pages of docs/site;
* what commands print, in place of a block of the language `help` that holds the commands.
"""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent.parent
ROOT = DOCS.parent
BROUGHT = {ROOT / f"{name.upper()}.md": f"site/{name}" for name in ("readme", "contributing", "changelog")}
REST = "Reference"

LINK = re.compile(r"(\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^()\s#:]+)(#[\w-]+)?\)")
ENTRY = re.compile(r"^\* \[([^\]]*)\]\(/?([\w/.-]+)\.md\)", re.MULTILINE)
HELP = re.compile(r"^```help\n(.*?)^```", re.MULTILINE | re.DOTALL)


def pointed(text: str, base: Path) -> str:
    """Return a page with links as the site has them; `base` is the folder that they start at."""

    def link(found: re.Match[str]) -> str:
        words, target, anchor = found[1], found[2], found[3] or ""
        path = Path(os.path.normpath(base / target))
        if path in BROUGHT:
            return f"{words}(/{BROUGHT[path]}.md{anchor})"
        if path.is_dir():  # a site shows no folders
            return words[1:-1]
        return f"{words}(/{os.path.relpath(path, DOCS)}{anchor})"

    return LINK.sub(link, text)


def trees(index: str, pages: set[str]) -> str:
    """Return the tables of contents of index.md: one for each section, of the pages that its list names."""
    sections = {part.partition("\n")[0]: ENTRY.findall(part) for part in index.split("\n## ")[1:]}
    named = {page for entries in sections.values() for _, page in entries}
    lines = {section: [f"{title} </{page}>" for title, page in found] for section, found in sections.items()}
    lines[REST] += sorted(f"/{page}" for page in pages - named - {"index"})
    return "".join(
        f"\n```{{toctree}}\n:hidden:\n:caption: {section}\n\n" + "\n".join(entries) + "\n```\n"
        for section, entries in lines.items()
        if entries
    )


def printed(command: str) -> str:
    """Return what a command prints, with its line above, as a terminal of 100 columns shows it."""
    words = [sys.executable, *command.split()[1:]]
    variables = {**os.environ, "COLUMNS": "100", "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=variables, check=True)
    return f"$ {command}\n{done.stdout}".replace(f"{ROOT}{os.sep}", "")


def helped(text: str) -> str:
    """Return a page with what the commands of its `help` blocks print."""
    commands = [line for block in HELP.findall(text) for line in block.splitlines()]
    with ThreadPoolExecutor() as pool:
        answers = dict(zip(commands, pool.map(printed, commands), strict=True))

    def block(found: re.Match[str]) -> str:
        return "\n".join(f"```text\n{answers[line]}```\n" for line in found[1].splitlines())

    return HELP.sub(block, text)


def read(app: Any, page: str, source: list[str]) -> None:
    """Make a page of the site of its file: the handler of Sphinx's event source-read."""
    path = next((path for path, name in BROUGHT.items() if name == page), DOCS / f"{page}.md")
    if page.startswith("site/"):
        app.env.note_dependency(str(path))
        source[0] = path.read_text()
    source[0] = helped(pointed(source[0], path.parent))
    if page == "index":
        source[0] += trees(source[0], set(app.project.docnames))


def outdated(app: Any, env: Any, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Name the index as to be read again when pages come or go: the handler of env-get-outdated."""
    return ["index"] if added or removed else []


def setup(app: Any) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    app.connect("env-get-outdated", outdated)
    app.connect("source-read", read)
    return {"parallel_read_safe": True}
