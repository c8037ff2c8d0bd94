"""What is done to runs, at four strengths, and what the verdict is to say of them."""

from dataclasses import dataclass, field

from scripts.training_runs import layers

SHORT = ["checkpoint.every_s=0", "output.progress=none", "train.epochs=none"]
DENSE = [layers([512, 512], 10), "train.minibatch=64", "cluster.shards=1", "cluster.partitions=1"]
RATE = 0.016  # what "auto" takes for these images and two replicas
CORES = 2  # of the machine that strengths are chosen for


@dataclass(frozen=True)
class Scenario:
    """One run.

    Parameters
    ----------
    name, strength
        What is done to it, and how much; no strength for a healthy one.
    expected
        What the verdict is to be about, in warnings or worse; none for a healthy run.
    ranks
        Processes, 1 being serial.
    settings
        After the data.
    data
        Of `scripts.diagnose.sets`; "digits" are embedded.
    stopped
        Share of its time in which the first replica stands still.
    """

    name: str
    strength: str
    expected: tuple[str, ...]
    ranks: int
    settings: list[str] = field(default_factory=list)
    data: str = "images"
    stopped: float = 0.0

    @property
    def allowed(self) -> tuple[str, ...]:
        """What may be said: beside old gradients the rate, beside both what they spoil."""
        more = {"staleness": ("rate", "learning"), "rate": ("learning",)}
        return sum((more.get(about, ()) for about in self.expected), self.expected)


def _of_replicas(replicas: int, steps: int, *more: str) -> list[str]:
    return [*SHORT, *DENSE, f"cluster.replicas={replicas}", f"train.steps={steps}", *more]


def _every(n: int) -> list[str]:
    return [f"downpour.n_fetch={n}", f"downpour.n_push={n}"]


def stale() -> list[Scenario]:
    """Return runs that fetch and push rarely."""
    return [
        Scenario("too stale", f"n_fetch = n_push = {n}", ("staleness",), 4, _of_replicas(2, 1200, *_every(n)))
        for n in (4, 8, 32, 256)
    ]


def slow() -> list[Scenario]:
    """Return runs of which one replica stands still for a part of the time."""
    return [
        Scenario(
            "one slow replica",
            f"stopped {share:.0%} of the time",
            ("slow_replica",),
            4,
            _of_replicas(2, 1200),
            stopped=share,
        )
        for share in (0.3, 0.5, 0.7, 0.9)
    ]


def shard_bound() -> list[Scenario]:
    """Return runs of a wide network on few examples at a time."""
    return [
        Scenario(
            "shard-bound",
            f"1.9 million parameters, minibatches of {size}",
            ("shards",),
            4,
            [
                *_of_replicas(2, 400),
                layers([1024, 1024], 10),
                f"train.minibatch={size}",
                "downpour.overlap=false",
                "downpour.rule=adarevision",
                "downpour.learning_rate=0.002",
            ],
        )
        for size in (16, 4, 2, 1)
    ]


def input_bound() -> list[Scenario]:
    """Return runs whose rows cost more to read than to learn from."""
    return [
        Scenario(
            "input-bound",
            f"wide gzip rows, {units} hidden units",
            ("input",),
            3,
            [*_of_replicas(1, 300), layers([units], 10)],
            data="costly",
        )
        for units in (512, 256, 64, 16)
    ]


def too_fast() -> list[Scenario]:
    """Return runs with a learning rate that is far too high."""
    return [
        Scenario(
            "rate too high",
            f"{factor} times the rate of auto",
            ("rate",),
            4,
            _of_replicas(2, 1200, f"downpour.learning_rate={RATE * factor:g}"),
        )
        for factor in (10, 30, 100, 1000)
    ]


def crowded() -> list[Scenario]:
    """Return runs of more replicas than cores."""
    return [
        Scenario(
            "oversubscribed",
            f"{replicas} partitions on {CORES} cores",
            ("cores",),
            replicas + 2,
            _of_replicas(replicas, 1500, "downpour.learning_rate=0.004"),
        )
        for replicas in (3, 4, 8, 16)
    ]


def combined() -> list[Scenario]:
    """Return runs with two ills."""
    fast, rare = f"downpour.learning_rate={RATE * 300:g}", _every(64)
    return [
        Scenario(
            "slow and stale",
            "stopped 80%, n = 64",
            ("slow_replica", "staleness"),
            4,
            _of_replicas(2, 1200, *rare),
            stopped=0.8,
        ),
        Scenario(
            "input-bound, rate too high",
            "16 hidden units, rate x300",
            ("input", "rate"),
            3,
            [*_of_replicas(1, 300), layers([16], 10), fast],
            data="costly",
        ),
    ]


def healthy() -> list[Scenario]:
    """Return runs of which nothing is to be said: tables and images, in every way of training."""
    table = [*SHORT, layers([256, 256], 1), "train.minibatch=128", "cluster.shards=1", "cluster.partitions=1"]
    conv = 'model.layers=[{type="conv", filters=16, size=5, activation="relu"}, '
    conv += '{type="pool", size=2, stride=2}, {type="dense", units=10}]'
    image = [*SHORT, conv, "train.minibatch=64", "cluster.shards=1"]
    batch = [
        *SHORT,
        "train.algorithm=sandblaster",
        "sandblaster.iterations=40",
        layers([128], 10),
        "cluster.shards=1",
        "cluster.partitions=1",
    ]
    return [
        Scenario("healthy", "serial, table", (), 1, [*SHORT, *table[1:4], "train.steps=8000"], data="table"),
        Scenario("healthy", "2 replicas, images", (), 4, _of_replicas(2, 1200)),
        Scenario("healthy", "rounds of 2, images", (), 4, _of_replicas(2, 1200, "train.algorithm=sync")),
        Scenario("healthy", "Sandblaster, images", (), 4, [*batch, "cluster.replicas=2"]),
        Scenario(
            "healthy",
            "2 partitions, convolution",
            (),
            4,
            [*image, "cluster.replicas=1", "cluster.partitions=2", "train.steps=1200"],
        ),
        Scenario(
            "healthy",
            "2 replicas, table",
            (),
            4,
            [*table, "cluster.replicas=2", "train.steps=3000"],
            data="table",
        ),
    ]


GROUPS = {
    "stale": stale,
    "slow": slow,
    "shards": shard_bound,
    "input": input_bound,
    "rate": too_fast,
    "cores": crowded,
    "combined": combined,
    "healthy": healthy,
}
