"""The library that lists a program's file system calls, or makes one fail: how it is built and told."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).with_name("preload.c")


def compiler() -> str | None:
    """Return the C compiler of this machine, if it has one."""
    return shutil.which("cc") or shutil.which("gcc")


def build(folder: Path) -> Path:
    """Compile the library into a folder, and return its path; SystemExit where there is no compiler."""
    program = compiler()
    if program is None:
        raise SystemExit("needs a C compiler: cc or gcc, on the PATH")
    library = folder / "preload.so"
    command = [program, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl", "-lpthread"]
    subprocess.run(command, check=True)
    return library


def under(library: Path, places: Mapping[str, Path], **told: object) -> list[str]:
    """Return the words before a program that is to run with the library; a launcher before them has it not.

    Parameters
    ----------
    places
        Directories and files by name: calls on what lies there are seen.
    told
        `trace`, `fail`, `hit`: what preload.c reads from CALLS_TRACE and so on.
    """
    loaded = ":".join(filter(None, [str(library), os.environ.get("LD_PRELOAD")]))
    where = ":".join(f"{name}={path}" for name, path in places.items())
    return [
        "env",
        f"LD_PRELOAD={loaded}",
        f"CALLS_PLACES={where}",
        *(f"CALLS_{name.upper()}={text}" for name, text in told.items()),
    ]
