"""Make each file system call of a run fail, one by one: `every-call [--serial] [--ranks 4] [--only PATTERN]`.

The calls are those that a run makes in its directory and on its data file, as a library lists them that is
loaded before the C library (`failing/preload.c`; needs a C compiler). In one process every call of a fresh
run fails, one run each: the first of each kind with every fitting error (ENOSPC, EIO, ESTALE, half of the
bytes, a disk that stays full), the others with one in turn; then, of a run that goes on from an earlier job,
every call of another kind, and one of each kind. On 4 ranks (2 shards + 1 replica, and 1 shard + 2 replicas)
a sample of these fails, drawn by the seed.

Each run is held to what `failing/promises.py` promises, and so is the same command after it. Prints each run
that breaks a promise, and a table; the status is 1 if there is one. `--only PATTERN` makes those runs again
whose name the pattern is found in. The kind `calls` makes one of these runs, drawn by chance.
"""

import hashlib
import os
import random
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scripts.chaos import options
from scripts.chaos.failing.faults import Fault, faults_of
from scripts.chaos.failing.laboratory import Laboratory
from scripts.chaos.failing.trial import Outcome, Series
from scripts.chaos.tried import Tried

Case = tuple[Series, Fault]
SHARED = Path("/dev/shm")  # where flushing costs nothing
PARALLEL = "2 shards", "2 replicas"
DAMAGE = re.compile("WRONG VALUES|ANOTHER MODEL|are lost|checkpoint")
_known: dict[tuple[Path, str], list[Case]] = {}  # of a folder and a shape


def cases(lab: Laboratory, shape: str) -> list[Case]:
    """Return all that is tried on a shape; its undisturbed runs are made now."""
    fresh, resumed = Series(lab, shape, False), Series(lab, shape, True)
    found: list[Case] = [(fresh, fault) for fault in faults_of(fresh.calls)]
    return found + [(resumed, fault) for fault in faults_of(resumed.calls, fresh.calls)]


def name_of(case: Case) -> str:
    """Return what a run is called."""
    return f"{case[0].name} {case[1]}"


def drawn(some: Sequence[Case], count: int, seed: int) -> list[Case]:
    """Draw some runs: by their names, so that one more or less on the list changes no other."""
    return sorted(some, key=lambda one: hashlib.sha256(f"{seed} {name_of(one)}".encode()).digest())[:count]


def make(chosen: Sequence[Case], jobs: int, talk: bool) -> Iterator[Outcome]:
    """Make the runs, `jobs` at a time, and print those that break a promise, or all."""
    with ThreadPoolExecutor(jobs) as pool:
        numbered = enumerate(chosen)
        for outcome in pool.map(lambda one: one[1][0].attempt(one[1][1], one[0]), numbered):
            if outcome.wrong or talk:
                judged = "; ".join(outcome.wrong) or "as promised"
                print(f"{outcome.name}: status {outcome.status}: {judged}", flush=True)
            if outcome.wrong and talk:
                print(outcome.done, flush=True)
            yield outcome


def table(outcomes: Sequence[Outcome]) -> str:
    """Return what became of the runs: a line for each file, kind of call and fault."""
    rows: dict[tuple[str, str, str], list[Outcome]] = {}
    for one in outcomes:
        rows.setdefault((one.file, one.fault.call.kind, one.fault.error), []).append(one)
    lines = [f"{'file':16} {'call':8} {'fault':7} {'runs':>4} {'broken':>6}  promised   statuses"]
    for (file, kind, error), some in sorted(rows.items()):
        statuses = Counter(one.status for one in some)
        counts = ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))
        broken, ends = sum(bool(one.wrong) for one in some), some[0].promise.ends
        lines.append(f"{file:16} {kind:8} {error:7} {len(some):4} {broken:6}  {ends:9}  {counts}")
    return "\n".join(lines)


def report(outcomes: Sequence[Outcome], began: float) -> int:
    """Print the table and the sums; return the status."""
    if not outcomes:
        print("no call has a name like that")
        return 1
    print(table(outcomes))
    unmet = [one.name for one in outcomes if not one.met]
    broken = sum(bool(one.wrong) for one in outcomes)
    print(f"{len(outcomes) - broken} of {len(outcomes)} runs as promised, {time.monotonic() - began:.0f} s")
    if unmet:
        print(f"{len(unmet)} did not make the call again: {', '.join(unmet)}")
    return 1 if broken else 0


def attempt(draw: random.Random, folder: Path) -> Tried:
    """Make a try of the kind `calls`: one fault of those that are tried on one process or on 4 ranks."""
    shape = draw.choice(["serial", *PARALLEL])
    place = folder.parent, shape
    if place not in _known:
        there = folder.parent / f"calls-{shape}".replace(" ", "-")
        there.mkdir()
        _known[place] = cases(Laboratory(there), shape)
    series, fault = draw.choice(_known[place])
    outcome = series.attempt(fault, int(folder.name.rpartition("-")[2]))
    wrong = [f"damage: {text}" if DAMAGE.search(text) else text for text in outcome.wrong]
    return Tried(
        role=outcome.file,
        shape=shape,
        status=outcome.status,
        promised=outcome.promise.ends.split(),
        wrong=wrong,
        notes=[outcome.name],
        said=str(outcome.done) if wrong else "",
    )


def main(arguments: list[str]) -> int:
    """Read the command line, and run."""
    parser = options.parser("every-call", __doc__)
    parser.add_argument("--serial", action="store_true", help="one process only: every call")
    parser.add_argument("--ranks", type=int, choices=[4], help="so many ranks only: a sample")
    parser.add_argument("--sample", type=int, default=60, help="runs on 4 ranks")
    parser.add_argument("--every", type=int, default=1, help="in one process, every so many of the calls")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--only", default="", metavar="PATTERN", help="a regular expression")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--list", action="store_true", help="print the names, and run nothing")
    parser.add_argument("--talk", action="store_true", help="print all runs, and what those that fail said")
    given = parser.parse_args(arguments)
    began, folder = time.monotonic(), SHARED if os.access(SHARED, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=folder) as name:
        lab, chosen = Laboratory(Path(name)), []
        if given.serial or not given.ranks:
            chosen += cases(lab, "serial")[:: given.every]
        if given.ranks or not given.serial:
            some = [one for shape in PARALLEL for one in cases(lab, shape)]
            chosen += some if given.only else drawn(some, given.sample, given.seed)
        chosen = [one for one in chosen if re.search(given.only, name_of(one))]
        if given.list:
            print("\n".join(map(name_of, chosen)))
            return 0
        return report(list(make(chosen, given.jobs, given.talk)), began)
