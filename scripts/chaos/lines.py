"""The lines of a series: one try each, in files that grow and can be put together."""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts import launcher

Line = dict[str, Any]


def commit() -> str:
    """Return the commit of the tree, with "+" if files differ from it; "unknown" outside of a repository."""
    git = ["git", "-C", str(launcher.ROOT)]
    done = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
    if done.returncode:
        return "unknown"
    changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True).stdout
    return done.stdout.strip() + ("+" if changed.strip() else "")


def read(paths: Sequence[Path]) -> list[Line]:
    """Return the tries of some files; the last line of one may be half a line."""
    lines: list[Line] = []
    for path in paths:
        for text in path.read_text().splitlines() if path.exists() else []:
            try:
                lines.append(json.loads(text))
            except ValueError:
                continue
    return lines


def add(path: Path, line: Line) -> None:
    """Append a line, whatever happens next."""
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())
