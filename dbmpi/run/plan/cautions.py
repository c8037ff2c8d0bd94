"""What a user is to know of a resolved configuration before it is run. Pure."""

from collections.abc import Iterator

from dbmpi.config.sections import Config
from dbmpi.text import several

# Rules with a memory of old gradients, and the most replicas with which they learned at a usual rate.
MOST_REPLICAS = {"momentum": 8, "adam": 8}


def caution(config: Config, replicas: int) -> str:
    """Say what is known to go wrong with a resolved configuration; nothing where nothing is."""
    rule = config.downpour.rule
    most = MOST_REPLICAS.get(rule, replicas)
    old = (replicas - 1) // config.downpour.average
    if not config.uses_downpour or config.sync or old < most:
        return ""
    others = "adagrad" if config.downpour.average > 1 else "adagrad, adarevision"
    return (
        f'downpour.rule = "{rule}" with {replicas} replicas, and gradients some {old} updates old: with more '
        f"than {most} it learned badly or not at all; take {others}, or fewer replicas"
    )


def expectations(config: Config, replicas: int) -> Iterator[str]:
    """Yield what results depend on, where there are several replicas."""
    if replicas == 1:
        return
    if config.sync:
        minibatch = config.train.minibatch
        yield f"a step is of {replicas * minibatch} examples: train.minibatch = {minibatch} of each replica"
        steps = config.train.steps
        if steps is not None:
            made, rest = -(-steps // replicas), steps % replicas
            last = f", the last one of {several(rest, 'minibatch', 'minibatches')}" if rest else ""
            yield f"train.steps = {steps} minibatches make {several(made, 'step')} of all replicas{last}"
    why = "replicas are asynchronous"
    if config.batch:
        why = "" if config.sandblaster.deterministic else "gradients are added up as they come"
    elif config.sync:
        why = "rounds do without the slowest" if config.downpour.backups else ""
    if why:
        yield f"{why}: results vary a little from run to run"
