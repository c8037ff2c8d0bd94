#!/usr/bin/env python3
"""Make a virtual environment with dbmpi installed in it, or bring an existing one up to date.

usage: environment.py DIRECTORY EXTRA [EXTRA ...]

Called by scripts/quickstart and scripts/test. A stamp in the environment remembers what was installed from
which setup.cfg, so that a complete environment costs no time and needs no network. Standard library only.
"""

import hashlib
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAMP = "dbmpi-installed.json"
OLDEST_PYTHON = (3, 11)


def requirements_hash() -> str:
    """Return a hash of the files that say what has to be installed."""
    files = [ROOT / "setup.cfg", ROOT / "pyproject.toml"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def read_stamp(directory: Path) -> dict[str, object]:
    """Return what the environment says was installed in it, or {} when it says nothing of use."""
    try:
        stamp = json.loads((directory / STAMP).read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def works(directory: Path) -> bool:
    """Whether the environment lies where it was made and its Python runs and is new enough.

    A copied or moved environment is of no use: its programs name the interpreter by its old path.
    """
    python = directory / "bin" / "python"
    stamp = read_stamp(directory)
    if not python.exists() or stamp.get("directory", str(directory)) != str(directory):
        return False
    check = f"import sys, pip; sys.exit(sys.version_info < {OLDEST_PYTHON})"
    return subprocess.run([python, "-c", check], stderr=subprocess.DEVNULL).returncode == 0


def create(directory: Path) -> None:
    """Make an empty environment; what lies at its place must be an environment too, and is cleared."""
    if directory.exists() and not (directory / "pyvenv.cfg").exists():
        sys.exit(f"{directory} exists and is no virtual environment: move it away and try again")
    print(f"making the virtual environment {directory}", flush=True)
    venv.create(directory, with_pip=True, clear=True, symlinks=True)


def install(directory: Path, extras: list[str]) -> None:
    """Install the tree, editable, with its extras, and write the stamp when all went well."""
    stamp = directory / STAMP
    stamp.unlink(missing_ok=True)
    print(f"installing dbmpi [{','.join(extras)}] in {directory}", flush=True)
    command = [
        str(directory / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--editable",
        f"{ROOT}[{','.join(extras)}]",
    ]
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore", "PIP_NO_INPUT": "1"}
    if subprocess.run(command, env={**os.environ, **quiet}).returncode != 0:
        sys.exit(
            "pip could not install dbmpi (above: why). It needs the network once, or a mirror that pip\n"
            "is told of (PIP_INDEX_URL, PIP_FIND_LINKS). The command was: " + " ".join(command)
        )
    stamp.write_text(
        json.dumps({"directory": str(directory), "requirements": requirements_hash(), "extras": extras})
    )


def provide(directory: Path, extras: list[str]) -> None:
    """Leave a working environment with at least these extras; do nothing where one is up to date."""
    if not works(directory):
        create(directory)
    stamp = read_stamp(directory)
    held = stamp.get("extras", [])
    wanted = sorted({*extras, *held}) if isinstance(held, list) else sorted(extras)
    if stamp.get("requirements") != requirements_hash() or wanted != held:
        install(directory, wanted)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    provide(Path(sys.argv[1]).absolute(), sys.argv[2:])
