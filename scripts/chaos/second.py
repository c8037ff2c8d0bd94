"""Two jobs in one run directory, a random time after one another: one runs, the other says who has it."""

import random
import time
from collections.abc import Callable
from pathlib import Path

from scripts import processes
from scripts.chaos import judge
from scripts.chaos.failing import audit
from scripts.chaos.jobs import Mode, Workshop, summary
from scripts.chaos.problem import ALGORITHMS
from scripts.chaos.promises import kept, promised
from scripts.chaos.shapes import Shape
from scripts.chaos.tried import Tried

SHAPE, LATEST_S = Shape(1, 1, 1), 4.0
NAME = "two-jobs"


def attempt(draw: random.Random, folder: Path) -> Tried:
    """Make a try of the kind."""
    shop, run_dir = Workshop(folder), folder / "run"
    mode = Mode(draw.choice(list(ALGORITHMS)), next(iter(shop.launchers)))
    after_s, others = draw.uniform(0.0, LATEST_S), []

    def start_second(living: Callable[[], list[int]]) -> None:
        time.sleep(after_s)
        others.append(shop.run(mode, SHAPE, run_dir))

    first = shop.run(mode, SHAPE, run_dir, during=start_second)
    second = others[0]
    over = f"the run in {run_dir} has come to its end" in second.out
    tried = Tried(
        role="second",
        algorithm=mode.algorithm,
        launcher=mode.launcher,
        shape=str(SHAPE),
        after_s=round(after_s, 3),
        status=second.status,
        statuses=[first.status, second.status],
        promised=promised(NAME, "second", mode.launcher, ["training"]),
    )
    tried.wrong = _wrong(first, second, over, run_dir, tried)
    if tried.wrong:
        tried.said = f"{judge.shortened(str(first))}\n{judge.shortened(str(second))}"
    return tried


def _wrong(
    first: processes.Finished, second: processes.Finished, over: bool, run_dir: Path, tried: Tried
) -> list[str]:
    """Say what is wrong with how the two have ended; `over`: the first had, when the other looked."""
    whole = judge.newest(dict(audit.checkpoints(run_dir))) is not None
    one_runs = [first.status, second.status].count(0) == 1 or over and not first.status
    either = sorted([first.status, second.status])
    wrong = judge.manners(first) + judge.manners(second)
    if not one_runs:
        wrong.append("damage: both have run" if either == [0, 0] else f"status {either}: none has run")
    if not all(kept(status, tried.promised, whole) for status in either):
        wrong.append(f"status {either}")
    return wrong + (judge.end(run_dir, summary(run_dir)) if either[0] == 0 else [])
