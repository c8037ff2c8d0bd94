"""Start a script of a folder by its name: `python scripts/chaos calls`. Standard library only."""

import argparse
import ast
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from dbmpi.screen import reported, screens

STATUS_USAGE = 2


def run(folder: Path, arguments: Sequence[str]) -> int:
    """Run the script that the first argument names, with the others, or list them; return the status.

    Nothing that it cannot show ends it.
    """
    with screens():
        return reported(_run(folder, arguments))


def _run(folder: Path, arguments: Sequence[str]) -> int:
    found = members(folder)
    name, *rest = arguments or ["--help"]
    if name in found:
        return importlib.import_module(f"scripts.{folder.name}.{name}").main(rest) or 0
    if name in ("-h", "--help"):
        print(listing(folder.name, found))
        return 0
    print(f"scripts/{folder.name}: there is no {name}\n\n{listing(folder.name, found)}", file=sys.stderr)
    return STATUS_USAGE


def members(folder: Path) -> dict[str, str]:
    """Return name -> what it does, of the modules of a folder that have a `main`; they are not imported."""
    found = {}
    for path in sorted(folder.glob("[!_]*.py")):
        tree = ast.parse(path.read_text())
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body):
            found[path.stem] = first_line(path)
    return found


def first_line(path: Path) -> str:
    """Return the first line of a module's docstring; it is not imported."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]


def listing(folder: str, found: dict[str, str]) -> str:
    """Return the usage of a folder, and a line for each of its scripts."""
    width = max(map(len, found), default=0)
    lines = [f"  {name:{width}}  {what}" for name, what in found.items()]
    usage = f"usage: python scripts/{folder} NAME [options]; NAME --help tells the options of one"
    return "\n".join([usage, "", *lines])


def parser(module: str, text: str | None) -> argparse.ArgumentParser:
    """Return a parser without options for the module `scripts.<folder>.<name>`, whose help shows `text`."""
    _, folder, name = module.split(".")
    form = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(prog=f"scripts/{folder} {name}", description=text, formatter_class=form)
