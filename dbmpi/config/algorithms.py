"""The sections of the configuration that belong to one training algorithm."""

from dataclasses import dataclass
from typing import Literal

from dbmpi.config.schema import Auto, key

REVISING = ("adarevision",)  # rules that take back of earlier steps what a late gradient shows to be too much


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How the learning rate changes during the run, by epochs of all replicas together."""

    kind: Literal["constant", "linear", "cosine", "exponential", "step"] = key(
        "constant",
        "Course of the rate after the warm-up: linear and cosine fall to `final` over decay_epochs; "
        "exponential multiplies by decay_factor every decay_epochs smoothly, step all at once.",
    )
    warmup_epochs: float = key(
        "auto",
        "The rate rises linearly from 0 during these first epochs. auto: for some 50 minibatches of each "
        "replica, but no more than a tenth of the run.",
        unit="epochs",
        minimum=0,
        auto=True,
    )
    decay_epochs: float = key(
        10.0, "Length of the decay (linear, cosine) or of its period.", unit="epochs", above=0
    )
    decay_factor: float = key(0.5, "Factor of exponential and step for each period.", above=0, maximum=1)
    final: float = key(
        0.0,
        "Where linear and cosine end.",
        unit="fraction of learning_rate",
        minimum=0,
        maximum=1,
    )


@dataclass(frozen=True, kw_only=True)
class Warmstart:
    """One replica trains alone first, before the others begin (until both limits are reached)."""

    steps: int = key(0, "Minibatches that it trains alone; 0: none.", unit="minibatches", minimum=0)
    time: float = key(0.0, "Time that it trains alone; 0: none.", unit="s", minimum=0)


@dataclass(frozen=True, kw_only=True)
class Downpour:
    """Downpour SGD (Dean et al. 2012, section 4.1): asynchronous replicas and the shards' rule."""

    n_fetch: int = key(1, "Fetch the parameters every so many minibatches.", unit="minibatches", minimum=1)
    n_push: int = key(
        1, "Push the accrued gradients every so many minibatches.", unit="minibatches", minimum=1
    )
    rule: Literal["sgd", "momentum", "adagrad", "adam", "adarevision"] = key(
        "auto",
        "Rule by which the shards apply a gradient; adarevision is Adagrad for gradients that are late, as "
        "those of many replicas are (docs/revision.md). auto: adagrad.",
        auto=True,
    )
    learning_rate: float = key(
        "auto",
        "Learning rate of the shards' rule (gamma of Adagrad). auto: what suits the rule, the connections "
        "that units have below, the loss, the rows and the replicas.",
        above=0,
        auto=True,
    )
    local_rate: float | Auto = key(
        "auto",
        "Fixed rate of a replica's steps on its own copy between fetches; auto: learning_rate for sgd, a "
        "tenth of it for the other rules.",
        minimum=0,
    )
    overlap: bool | Auto = key(
        "auto",
        "Whether fetch and push go on in the background while minibatches are computed. auto waits for each "
        "fetch with one replica, which then repeats exactly from its seed, on one node, whose memory all "
        "share, and where four or more ranks share a core, which others then use; it overlaps otherwise.",
    )
    average: int = key(
        1,
        "Shards step once for so many pushes, with their mean; nobody waits for it. What is left at the end "
        "or before a checkpoint makes a step of its own: its sum over this number. 1: a step for each push.",
        unit="pushes",
        minimum=1,
    )
    backups: int = key(
        0,
        "Backup workers of sync (Chen et al. 2016): a round ends without the slowest so many replicas, whose "
        "gradients are dropped, and their examples not learned from (summary.json: examples_dropped); less "
        "than the number of replicas.",
        unit="replicas",
        minimum=0,
    )
    max_staleness: int = key(
        0,
        "Shards refuse pushes computed from parameters older than this, and a replica fetches after so many "
        "minibatches at the latest; 0: no limit.",
        unit="updates",
        minimum=0,
    )
    momentum: float = key(0.9, "Decay of the velocity (momentum).", minimum=0, below=1)
    beta1: float = key(0.9, "Decay of the mean gradient (adam).", minimum=0, below=1)
    beta2: float = key(0.999, "Decay of the mean squared gradient (adam).", minimum=0, below=1)
    epsilon: float = key(1e-8, "Keeps the divisors of adagrad, adarevision and adam from zero.", above=0)
    initial_accumulator: float = key(
        0.0,
        "Where the sums of squared gradients begin (adagrad, adarevision): larger ones make the first steps "
        "smaller.",
        minimum=0,
        maximum=1e30,
    )
    max_gradient_norm: float = key(
        0.0,
        "A shard refuses a gradient (of one of its pieces) with a larger norm; 0: only one that is not "
        "finite, or too large to compute with in `model.dtype`.",
        minimum=0,
        maximum=1e100,
    )
    wire: Literal["float32", "bfloat16", "float16"] = key(
        "float32",
        "Precision of pushed gradients: the model's own, or a 16-bit one whose error is carried over to the "
        "next push; float16 carries values below 6.7e7.",
    )
    schedule: Schedule = key(Schedule(), "Learning-rate schedule.")
    warmstart: Warmstart = key(Warmstart(), "Training of one replica alone.")

    @property
    def waits(self) -> bool:
        """Whether each fetch is waited for, once `launch.resolve_overlap` has chosen what was "auto"."""
        return self.overlap is False


@dataclass(frozen=True, kw_only=True)
class Sandblaster:
    """Sandblaster (Dean et al. 2012, section 4.2): a batch method whose vectors stay on the shards.

    Used with `train.algorithm = "sandblaster"`. A pass evaluates the loss of a whole batch, and its gradient:
    the batch is cut into portions, which replicas take as they become free.
    """

    method: Literal["lbfgs", "conjugate_gradient"] = key(
        "lbfgs", "L-BFGS, or the nonlinear conjugate gradient method (Polak-Ribiere)."
    )
    iterations: int = key(100, "Stop after so many iterations.", unit="iterations", minimum=1)
    history: int = key(
        10, "Pairs of steps and gradient changes that L-BFGS remembers.", unit="pairs", minimum=1, maximum=100
    )
    sample: float = key(
        1.0,
        "Share of the training set in a batch; below 1 each iteration draws another sample.",
        unit="fraction",
        above=0,
        maximum=1,
    )
    portions: int | Auto = key(
        "auto",
        "Portions per batch, of whole minibatches; auto: 16 for each replica, or as many as minibatches.",
        unit="portions",
        minimum=1,
    )
    push_every: int = key(4, "Finished portions per push of a gradient.", unit="portions", minimum=1)
    backup: bool = key(
        True,
        "Near the end of a pass, give copies of outstanding portions to idle replicas; the first to finish "
        "wins.",
    )
    deterministic: bool = key(
        False,
        "Add gradients up in a fixed order, so that a run repeats exactly: each replica then does its own "
        "share of the portions, there are no copies, and all wait for the slowest.",
    )
    warmstart_examples: int = key(
        0, "Examples to learn from by Downpour first; 0: none.", unit="examples", minimum=0
    )
    gradient_tolerance: float = key(
        1e-6,
        "Converged when the norm of the gradient is at most this times that of the parameters (or 1, if that "
        "is larger); 0: off.",
        minimum=0,
    )
    decrease_tolerance: float = key(
        1e-9, "Converged when an iteration lowers the loss by at most this share of it; 0: off.", minimum=0
    )
    memory_mb: int = key(
        1024,
        "Examples that each rank keeps in memory from pass to pass; what is beyond is read again.",
        unit="MB",
        minimum=0,
    )
