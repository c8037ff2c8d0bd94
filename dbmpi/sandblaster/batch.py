"""What the batch of Sandblaster is: its portions, and how many examples they hold. Pure.

The batch is a number of portions of a plan with one part. The whole training set is sample 0, whose portions
stay the same from pass to pass; where the batch is a share of it, each sample is the beginning of another
epoch of the plan, and so another random choice of blocks.
"""

from dataclasses import dataclass
from typing import Any

from dbmpi.checkpoint.run_state import SandblasterState
from dbmpi.comm import operations
from dbmpi.config.algorithms import Sandblaster
from dbmpi.config.sections import Config, Train
from dbmpi.data.portions import PortionPlan
from dbmpi.sandblaster import minimize

AUTO_PORTIONS = 16  # for each replica: so many that one more or less of them makes little difference


@dataclass(frozen=True)
class Batch:
    """The portions 0, 1, ..., `portions` - 1 of each sample, and the examples in them together."""

    plan: PortionPlan
    portions: int
    examples: int

    def state(self) -> dict[str, Any]:
        """Return what two runs have in common whose samples are the same."""
        return {"plan": self.plan.numbers(), "portions": self.portions}


def cut_batch(settings: Sandblaster, train: Train, rows: int, replicas: int, chunk_rows: int | None) -> Batch:
    """Cut the training set of `rows` examples into portions of whole minibatches."""
    wanted = AUTO_PORTIONS * replicas if settings.portions == "auto" else int(settings.portions)
    each = -(-round(settings.sample * rows) // (wanted * train.minibatch))
    plan = PortionPlan(rows, train.minibatch, 1, train.seed, max(1, each), chunk_rows)
    there = plan.portions(0, 0)
    portions = there if settings.sample == 1 else max(1, min(there, round(settings.sample * there)))
    return Batch(plan, portions, sum(plan.rows(0, 0, index) for index in range(portions)))


def vectors_of(config: Config) -> int:
    """Return how many vectors each shard holds its slice of: the parameters, and what the method needs."""
    if not config.batch:
        return 1
    method = minimize.make(config.sandblaster.method, config.sandblaster.history)
    return operations.count(method.pairs)


def continues(settings: Sandblaster, state: SandblasterState) -> bool:
    """Whether the optimizer of a checkpoint goes on: the method and its history are the same."""
    return state.settings == fingerprint(settings)


def fingerprint(settings: Sandblaster) -> dict[str, Any]:
    """Return what two batch methods have in common of which one can go on from the other."""
    return {"method": settings.method, "history": settings.history, "sampled": settings.sample < 1}
