"""The JSON file of a bench: it can be written, and is whole at all times. Standard library only."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def check(out: Path) -> None:
    """Raise OSError where the file cannot be written; what it holds stays."""
    if out.is_dir():
        raise IsADirectoryError("it is a directory")
    if out.exists() and not os.access(out, os.W_OK):
        raise PermissionError("it is read-only")
    if not _is_device(out):
        partial = _partial(out)
        partial.touch()
        partial.unlink()


def write(out: Path, record: Mapping[str, Any]) -> None:
    """Put a record in the place of the file, at once; raise OSError, as of a full disk: the file stays."""
    text = json.dumps(record, indent=1) + "\n"
    if _is_device(out):  # nothing may take the place of /dev/null
        out.write_text(text)
        return
    partial = _partial(out)
    try:
        partial.write_text(text)
        os.replace(partial, out.resolve())
    finally:
        partial.unlink(missing_ok=True)


def _is_device(out: Path) -> bool:
    return out.exists() and not out.is_file()


def _partial(out: Path) -> Path:
    """Return the temporary file, beside that to which a link leads."""
    return out.resolve().with_name(f".{out.name}.{os.getpid()}")
