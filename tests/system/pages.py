"""The blocks of a page of docs/, run as they stand there, one after another, in one directory.

* `sh`: by bash, up to its first failure. What makes environments and installs is left out: see `INSTALLING`.
* `python`: in this process; the blocks of a page share their names.
* any language, if the first or second line is `# NAME.END`: is written into the file of that name.
* `text` and `help`: what is printed, and so not run.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.launcher import NO_LAUNCHER, Environment
from tests import ROOT

DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"(?:#!.*\n)?# ([\w.-]+\.\w+)\n")
INSTALLING = re.compile(r"^(?:python3? -m venv|\. |pip install|export OMPI_).*\n", re.MULTILINE)
OF_OPEN_MPI = "--oversubscribe --bind-to none "  # MPICH knows neither
# More ranks than cores, and than Open MPI counts slots for.
CROWDED = {
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str

    @property
    def file(self) -> str:
        """The name of the file that it is; empty where it is to be run."""
        named = FILE.match(self.text)
        return named[1] if named else ""


def blocks(page: str) -> list[Block]:
    """Return the blocks of a page, by its name below docs/."""
    return [Block(*found) for found in BLOCK.findall((DOCS / page).read_text())]


def variables(environment: Environment) -> dict[str, str]:
    """Return the variables of a reader who has activated the virtual environment."""
    path = os.pathsep.join([str(environment.directory / "bin"), os.environ["PATH"]])
    return {**os.environ, **environment.variables(), **CROWDED, "PATH": path, "PYTHONPATH": str(ROOT)}


def alone() -> str:
    """Return what makes a shell start `python` on one core: with one thread it need not load Numba."""
    if shutil.which("taskset") is None:
        return ""
    cores = sorted(os.sched_getaffinity(0))
    worker = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "0")))
    return f'python() {{ taskset -c {cores[worker % len(cores)]} env python "$@"; }}; '


def shell(commands: str, directory: Path, env: Mapping[str, str], timeout_s: float = 120) -> str:
    """Run commands as a reader does; return what they say. An AssertionError where one fails."""
    # Jobs that they submit go on: what is left behind is seen by tests/runner.py.
    words, more = ["bash", "-euc", alone() + commands], {"cwd": directory, "env": env, "timeout": timeout_s}
    done = subprocess.run(words, capture_output=True, text=True, **more)
    if NO_LAUNCHER in done.stderr:
        done = subprocess.run(words, capture_output=True, text=True, **more)
    print(f"{commands}{done.stdout}{done.stderr}")
    assert not done.returncode, f"{commands}{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def run_page(
    page: str, directory: Path, env: Mapping[str, str], skip: str = "sbatch ", drop: str = ""
) -> str:
    """Run the blocks of a page in a directory, which is the working directory; return what its commands say.

    Blocks of commands that contain `skip` are left out; so are the words `drop`, from all commands.
    """
    said, known = [], {"__name__": "__main__"}
    for block in blocks(page):
        if block.file:
            (directory / block.file).write_text(block.text)
        elif block.language == "sh" and skip not in block.text:
            commands = INSTALLING.sub("", block.text).replace(drop, "")
            said.append(shell(commands, directory, env) if commands.strip() else "")
        elif block.language == "python":
            exec(compile(block.text, page, "exec"), known)
    return "".join(said)
