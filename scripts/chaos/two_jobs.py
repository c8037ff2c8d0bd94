"""Start two jobs on one run directory, again and again: `owners [N] [--seed S] [--jobs 2]` (N = 50).

Each try is one of four kinds, in turn, in one process or on 4 ranks, on the embedded digits:

    at once    the second begins a random time after the first: one runs, the other says who has it
    killed     the first is killed as a whole, and another job begins: it has the directory at once
    requeued   the first is stopped as a whole (SIGSTOP); the same Slurm job, back from the queue, begins
    waiting    likewise, and the second is another job that waits (--wait) until the lease is over

Where the first was stopped it wakes at a random time while the second runs, or after its end. A try is good
if the statuses are as docs/checkpoints.md says, the second job goes on from a checkpoint of the first, the
one that wakes changes no file, and all checkpoints are whole and numbered as by one job. Prints each try as a
line of JSON; the status is 1 if one was not good. About 10 s a try.
"""

import hashlib
import json
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dbmpi.errors import STATUS_OWNED, STATUS_STOPPED, STATUS_TAKEN_OVER
from scripts import launcher, processes
from scripts.chaos import options
from scripts.chaos.failing import audit
from scripts.chaos.victims import by_rank

LEASE_S, RUN_S, TIMEOUT_S, RANKS = 2.0, 4.0, 60.0, 4
SETTINGS = [
    "train.epochs=100000",
    "checkpoint.every_s=0.3",
    "evaluation.every_epochs=0",
    "output.progress=none",
    "output.every_s=0.1",
    f"output.lease_s={LEASE_S}",
]


@dataclass
class Outcome:
    """What became of a try: the statuses of the two jobs, and what was wrong.

    `took_s` is the time from the start of the second job to when it had the directory: what a lease has
    left, and the start of a program.
    """

    kind: str
    ranks: int
    delay_s: float
    wake_s: float
    took_s: float = 0.0
    statuses: list[int | None] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing was."""
        return not self.wrong


@dataclass
class Pair:
    """Two jobs on one run directory, in one process each or on some ranks."""

    environment: launcher.Environment
    run_dir: Path
    ranks: int

    def start(self, *words: str, slurm: str = "", during: Any = None) -> processes.Finished:
        """Run a job, and wait for its end."""
        command = [str(self.environment.python), "-m", "dbmpi.train", "--run-dir", str(self.run_dir), *words]
        job = ["env", "SLURM_JOB_ID=7", f"SLURM_RESTART_COUNT={slurm}"] if slurm else []
        ranks = self.environment.mpiexec(self.ranks) if self.ranks > 1 else []
        shared = {
            "OMPI_MCA_btl_sm_backing_directory": str(self.run_dir.parent)
        }  # what is killed leaves files
        changes = {**self.environment.variables(), **shared, "PYTHONPATH": str(launcher.ROOT)}
        return processes.run([*ranks, *job, *command], timeout_s=TIMEOUT_S, env=changes, during=during)

    def files(self) -> dict[str, str]:
        """Return a checksum of each file in the directory."""
        found = {}
        for path in sorted(self.run_dir.rglob("*")):
            if path.is_file():
                found[str(path.relative_to(self.run_dir))] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def wait_for(self, pattern: str, limit_s: float = TIMEOUT_S / 2) -> bool:
        """Wait until a file is there; return whether it is."""
        deadline = time.monotonic() + limit_s
        while not any(self.run_dir.glob(pattern)):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True


def at_once(pair: Pair, outcome: Outcome) -> None:
    """One of two jobs runs, and the other says who has the directory."""
    limits = ["--set", *SETTINGS, f"train.max_time={RUN_S}"]
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(pair.start, *limits)
        time.sleep(outcome.delay_s)
        jobs = [job.result() for job in (first, pool.submit(pair.start, *limits))]
    outcome.statuses = [job.status for job in jobs]
    if sorted(map(str, outcome.statuses)) != [str(STATUS_STOPPED), str(STATUS_OWNED)]:
        outcome.wrong.append("one should have run, and the other left")
    said = [
        line
        for job in jobs
        if job.status == STATUS_OWNED
        for line in job.err.splitlines()
        if "belongs to" in line
    ]
    if len(said) != 1 or "process " not in said[0]:
        outcome.wrong.append(f"says {said}")


class Sleeper:
    """Stops a job some time after its first checkpoint, and wakes it when told; for `processes.run`."""

    def __init__(self, pair: Pair, delay_s: float) -> None:
        self._pair, self._delay_s = pair, delay_s
        self.asleep, self.awake = threading.Event(), threading.Event()

    def __call__(self, living: Callable[[], list[int]]) -> None:
        """Stop them, and wait to be told."""
        there = self._pair.wait_for("checkpoints/0*")
        time.sleep(self._delay_s)
        with processes.stopped(list(by_rank(living()).values()) or living() if there else []):
            self.asleep.set()
            self.awake.wait(TIMEOUT_S)


def taken_over(pair: Pair, outcome: Outcome) -> None:
    """A job that is stopped loses the directory to another one, and changes nothing when it wakes."""
    sleeper = Sleeper(pair, outcome.delay_s)
    slurm = ("0", "1") if outcome.kind == "requeued" else ("", "")
    limits = ["--set", *SETTINGS, f"train.max_time={RUN_S}"]
    more = ["--wait"] if outcome.kind == "waiting" else []
    with ThreadPoolExecutor(2) as pool:
        old = pool.submit(pair.start, "--set", *SETTINGS, slurm=slurm[0], during=sleeper)
        sleeper.asleep.wait(TIMEOUT_S)
        began = time.monotonic()
        new = pool.submit(pair.start, *more, *limits, slurm=slurm[1])
        there = pair.wait_for(".owner/000002/owner.json")
        outcome.took_s = round(time.monotonic() - began, 3)
        time.sleep(outcome.wake_s)
        late = new.done()
        before = pair.files() if late else {}
        sleeper.awake.set()
        ended = [old.result(), new.result()]
        if late and pair.files() != before:
            outcome.wrong.append("the one that woke has changed files")
    outcome.statuses = [job.status for job in ended]
    if outcome.statuses != [STATUS_TAKEN_OVER, STATUS_STOPPED]:
        outcome.wrong.append("the old one should have been taken over, and the new one have stopped")
    if not there:
        outcome.wrong.append("never taken over")
    if "goes on from checkpoint" not in ended[1].out:
        outcome.wrong.append("the second job begins anew")
    if "Traceback" in ended[0].err + ended[1].err:
        outcome.wrong.append("a traceback")


def killed(pair: Pair, outcome: Outcome) -> None:
    """A job whose processes are gone loses the directory at once."""

    def kill(living: Callable[[], list[int]]) -> None:
        pair.wait_for("checkpoints/0*")
        time.sleep(outcome.delay_s)
        processes.send(signal.SIGKILL, living())

    ended = [pair.start("--set", *SETTINGS, during=kill)]
    ended.append(pair.start("--set", *SETTINGS, f"train.max_time={RUN_S}"))
    outcome.statuses = [job.status for job in ended]
    if outcome.statuses[1] != STATUS_STOPPED or "goes on from checkpoint" not in ended[1].out:
        outcome.wrong.append("the second job should have gone on at once")


TRIED = {"at once": at_once, "killed": killed, "requeued": taken_over, "waiting": taken_over}


def judge(run_dir: Path) -> list[str]:
    """Say what is wrong with what two jobs have left."""
    wrong = [str(one) for _, one in audit.checkpoints(run_dir) if isinstance(one, audit.Broken)]
    if not any(isinstance(one, audit.Saved) for _, one in audit.checkpoints(run_dir)):
        wrong.append("no whole checkpoint")
    wrong += [f"{path} is left" for path in audit.litter(run_dir)]
    records = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    numbers = [record["number"] for record in records if record["kind"] == "checkpoint"]
    if numbers != sorted(set(numbers)):
        wrong.append(f"checkpoints {numbers}: of two jobs at once")
    return wrong


def attempt(
    environment: launcher.Environment, folder: Path, draw: random.Random, kind: str, ranks: int
) -> Outcome:
    """Make one try in a folder, which is empty; `kind` as above."""
    outcome = Outcome(kind, ranks, round(draw.uniform(0, 2.0), 3), 0.0)
    if TRIED[kind] is taken_over:
        outcome.wake_s = round(draw.choice([draw.uniform(0, 3), 2 * RUN_S + LEASE_S]), 3)
    pair = Pair(environment, folder / "run", ranks)
    TRIED[kind](pair, outcome)
    outcome.wrong += judge(pair.run_dir)
    return outcome


def main(arguments: Sequence[str]) -> int:
    """Read the command line, and print a line for each try."""
    parser = options.parser("owners", __doc__)
    parser.add_argument("tries", type=int, nargs="?", default=50, help="number of tries (default 50)")
    parser.add_argument("--seed", type=int, default=1, help="of the delays (default 1)")
    parser.add_argument("--jobs", type=int, default=1, help="tries at a time (default 1)")
    given = parser.parse_args(arguments)
    environment = launcher.this_environment()
    if environment is None:
        raise SystemExit("no mpiexec in this environment or on the PATH")

    def one(number: int) -> Outcome:
        kind, ranks = list(TRIED)[number % len(TRIED)], RANKS if number // len(TRIED) % 2 else 1
        with tempfile.TemporaryDirectory() as folder:
            draw = random.Random(f"{given.seed} {number}")
            return attempt(environment, Path(folder), draw, kind, ranks)

    bad = 0
    with processes.ended_in_order(), ThreadPoolExecutor(given.jobs) as pool:  # jobs end by their deadline
        for outcome in pool.map(one, range(given.tries)):
            print(json.dumps(asdict(outcome)), flush=True)
            bad += not outcome.good
    print(f"{given.tries - bad} of {given.tries} good")
    return 1 if bad else 0
