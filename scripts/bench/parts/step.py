"""Training step of one process on one thread, beside PyTorch and beside its matrix products.

The step is the real one (`scripts.bench.steps`): forward, loss, backward, the shard's guards, SGD; without
reading data. PyTorch's is zero_grad, forward, backward, SGD: eager, with either way to clear gradients, and
compiled; the fastest counts.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial

from dbmpi.run.roles.context import RunContext
from scripts.bench import steps
from scripts.bench.clock import Timed
from scripts.bench.core import Aim, Group, Options, Row, Turn, require
from scripts.launcher import ROOT
from scripts.training_runs import layers

ROUNDS = 30
SGD = ["downpour.rule=sgd", "downpour.learning_rate=1e-4"]


def groups(options: Options) -> Iterator[Group]:
    """Yield three dense networks, and an image network."""
    dense = [
        ("784-256-10 B 32", 784, layers([256], 10), 32, 2.0, 0.1),
        ("784-512-512-10 B 100", 784, layers([512, 512], 10), 100, None, 0.1),
        ("440-2560x4-8192 B 100", 440, layers([2560] * 4, 8192, "sigmoid"), 100, 1.9, 0.5),
    ]
    for name, inputs, network, batch, aim, turn_s in dense:
        settings = [network, f"train.minibatch={batch}", *SGD]
        run = cache(partial(steps.context, None, settings, (inputs,)))
        yield group(name, run, batch, aim, turn_s)
    image = ROOT / "examples" / "image-32.toml"
    run = cache(partial(steps.context, image, SGD, (32, 32, 3)))
    yield group("image-32.toml B 100", run, 100, 10.0, 0.5, image=True)


def group(
    name: str,
    run: Callable[[], RunContext],
    batch: int,
    aim: float | None,
    turn_s: float,
    image: bool = False,
) -> Group:
    """Return the step of a network beside its rivals."""
    turns: dict[str, Turn] = {"dbmpi": Timed(lambda: steps.step(run()), turn_s)}
    rivals = {
        "PyTorch eager": {},
        "PyTorch compiled": {"compiled": True},
        **(
            {"PyTorch, LCN at once": {"separable": False}}
            if image
            else {"PyTorch zeroing": {"set_to_none": False}}
        ),
    }
    for rival, options in rivals.items():
        turns[rival] = Timed(partial(torch_step, run, batch, options), turn_s)
    rows = [
        Row(f"{name} beside PyTorch", "dbmpi", "s", tuple(rivals), Aim(aim) if aim else None, lower=True),
        Row(f"{name} beside PyTorch eager", "dbmpi", "s", ("PyTorch eager",), lower=True, pair=True),
        Row(f"{name} beside PyTorch compiled", "dbmpi", "s", ("PyTorch compiled",), lower=True, pair=True),
    ]
    if not image:
        turns["products"] = Timed(lambda: steps.products(run().setup.network, batch), turn_s)
        rows.append(Row(f"{name} beside its products", "dbmpi", "s", ("products",), lower=True))
    return Group(name, turns, rows)


def torch_step(run: Callable[[], RunContext], batch: int, options: dict[str, bool]) -> Callable[[], None]:
    """Return PyTorch's step; raise Skipped where there is none."""
    require("torch")
    from scripts.bench import pytorch

    return pytorch.step(run().setup.network, batch, **options)
