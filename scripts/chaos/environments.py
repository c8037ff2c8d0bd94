"""Start runs in environments unlike a developer's: `environments [--only PATTERN] [--fast]`.

No home directory, no room for temporary files, another locale, a user that the system does not know, wrong
values of variables that libraries read, low limits, full shared memory: `failing/surroundings.py` lists them.
Each ends as listed: it works, perhaps with a warning, or it ends in one line and status 2; never with a
traceback. Those that need root, or what this machine does not have, are left out. The status is 1 if a
promise is broken.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts import processes
from scripts.chaos import options
from scripts.chaos.failing import surroundings
from scripts.chaos.failing.surroundings import ALL, Surrounding
from scripts.launcher import this_environment

TRAIN = ["-m", "dbmpi.train"]
STEPS = ["--run-dir", "r", "--set", "train.steps=20", "cluster.timeout_s=30"]
TIMEOUT_S = 300.0
MOST_LINES = 3  # of a message of one line, and warnings of threads


@dataclass(frozen=True)
class Outcome:
    """How a run ended, and what is wrong with that."""

    of: Surrounding
    done: processes.Finished
    wrong: list[str]


def possible(one: Surrounding) -> bool:
    """Return whether this machine can make an environment."""
    probes = {
        surroundings.USER: "unshare -U --map-user=54321 --map-group=54321 true",
        "unshare -m": "unshare -m true",
    }
    probes["/sys/fs/cgroup"] = 'for k in cpu memory pids; do [ -w "/sys/fs/cgroup/$k/tasks" ] || exit 1; done'
    needed = [probe for mark, probe in probes.items() if mark in one.shell]
    return all(subprocess.run(["sh", "-c", probe], capture_output=True).returncode == 0 for probe in needed)


def attempt(one: Surrounding, folder: Path) -> Outcome:
    """Start the program in an environment, in a new directory below `folder`, where kernels are kept too."""
    home = Path(tempfile.mkdtemp(dir=folder))
    home.chmod(0o755)
    mpi = this_environment()
    assert mpi is not None
    ranks = [str(word) for word in mpi.mpiexec(3)] if one.command == "ranks" else []
    words = [*ranks, sys.executable, *TRAIN, *(["--dry-run"] if one.command == "dry" else STEPS)]
    places = dict.fromkeys(("TMPDIR", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR"), str(folder))
    env = {**mpi.variables(), **places}
    shell = ["sh", "-c", f'{one.shell}\nexec "$@"', "sh", *words]
    done = processes.run(shell, timeout_s=TIMEOUT_S, env=env, cwd=home)
    outcome = Outcome(one, done, wrong(one, done, home))
    subprocess.run(["rm", "-rf", home], check=False)
    return outcome


def wrong(one: Surrounding, done: processes.Finished, home: Path) -> list[str]:
    """Return what is not as promised."""
    found = ["it hangs"] if done.timed_out else []
    if not done.timed_out and done.status != one.status:
        found.append(f"status {done.status}, and not {one.status}")
    if "Traceback" in done.out + done.err:
        found.append("a traceback")
    if one.says not in done.err:
        found.append(f"it does not say {one.says!r}")
    lines = [line for line in done.err.splitlines() if line.startswith("dbmpi: ")]
    if one.status == 2 and not 1 <= len(lines) <= MOST_LINES:
        found.append(f"{len(lines)} lines of messages")
    if one.status == 0 and one.command != "dry" and not (home / "r" / "finished").exists():
        found.append("the run is not finished")
    return found + [f"left behind: {process}" for process in done.survivors]


def main(arguments: Sequence[str]) -> int:
    """Try all environments, or those whose name a pattern is found in."""
    form = options.parser("environments", __doc__)
    form.add_argument("--only", default="", metavar="PATTERN", help="a regular expression")
    form.add_argument("--fast", action="store_true", help="those alone that are tried in every test")
    form.add_argument("--verbose", action="store_true", help="show what broken ones have printed")
    given = form.parse_args(arguments)
    chosen = [one for one in ALL if re.search(given.only, one.name) and not (given.fast and one.slow)]
    broken, tried = 0, 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        for one in chosen:
            if not possible(one):
                print(f"{one.name}: not possible here", flush=True)
                continue
            outcome = attempt(one, Path(folder))
            tried, broken = tried + 1, broken + bool(outcome.wrong)
            print(
                f"{one.name}: status {outcome.done.status}: {'; '.join(outcome.wrong) or 'as promised'}",
                flush=True,
            )
            if outcome.wrong and given.verbose:
                print(outcome.done, flush=True)
    print(f"{tried} environments, {tried - broken} as promised")
    return 1 if broken or not tried else 0
