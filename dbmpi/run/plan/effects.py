"""Settings that a run cannot follow: it is too short or too small, or has other settings. Pure.

They are no mistakes: the run goes its way without them, and a warning says so.
"""

from collections.abc import Iterator
from math import ceil, inf
from typing import Any

from dbmpi.config.sections import Config
from dbmpi.data.portions import PortionPlan, examples_in
from dbmpi.sandblaster.batch import cut_batch
from dbmpi.text import listed, several, show

# Which value of another key each of these is for.
WANTS = {
    "downpour.momentum": ("downpour.rule", ("momentum",)),
    "downpour.beta1": ("downpour.rule", ("adam",)),
    "downpour.beta2": ("downpour.rule", ("adam",)),
    "downpour.epsilon": ("downpour.rule", ("adagrad", "adarevision", "adam")),
    "downpour.initial_accumulator": ("downpour.rule", ("adagrad", "adarevision")),
    "downpour.schedule.decay_epochs": (
        "downpour.schedule.kind",
        ("linear", "cosine", "exponential", "step"),
    ),
    "downpour.schedule.decay_factor": ("downpour.schedule.kind", ("exponential", "step")),
    "downpour.schedule.final": ("downpour.schedule.kind", ("linear", "cosine")),
    "sandblaster.history": ("sandblaster.method", ("lbfgs",)),
}
LAST, OTHERS = "there is none but at the end", "the other replicas never begin"
INTERVALS = (  # keys, their units, and what becomes of a run that is shorter
    ("checkpoint.every_s", "s", LAST),
    ("checkpoint.every_examples", "examples", LAST),
    ("checkpoint.mirror_s", "s", "there is none but at the start"),
    ("evaluation.every_s", "s", LAST),
    ("evaluation.every_epochs", "epochs", LAST),
    ("downpour.warmstart.time", "s", OTHERS),
    ("downpour.schedule.warmup_epochs", "epochs", "the rate never reaches downpour.learning_rate"),
)
CHOSEN = ("rule", "learning_rate", "schedule")  # of section downpour: a saved configuration gives them


def without_effect(
    given: Config, config: Config, rows: int, replicas: int, chunk_rows: int | None
) -> Iterator[str]:
    """Yield a warning for each setting that was given and can have no effect.

    Parameters
    ----------
    given, config
        The configuration as given, and complete.
    rows, chunk_rows
        Examples in the training set, and in a chunk of the file.
    replicas
        Model replicas.
    """
    train = config.train
    plan = PortionPlan(rows, train.minibatch, replicas, train.seed, train.portion, chunk_rows)
    problems = [*_wants(given, config), *_of_algorithms(given, config), *_of_replicas(config, replicas)]
    if config.batch:
        problems += _of_batches(config, rows, replicas, chunk_rows)
    else:
        problems += [*_of_portions(config, plan), *_of_minibatches(config, plan)]
    for name, why in (*problems, *_of_times(given, config, plan)):
        yield f"{name} = {show(_value(config, name))} {why}"


Problem = tuple[str, str]  # the key, and what is said of its value


def _wants(given: Config, config: Config) -> Iterator[Problem]:
    """Find keys for another value of another key."""
    for name, (other, values) in WANTS.items():
        used = config.uses_downpour if name.startswith("downpour") else config.batch
        chosen = _value(config, other)
        if used and _is_given(given, name) and chosen not in values:
            words = listed([f'"{value}"' for value in values])
            yield name, f'has no effect with {other} = "{chosen}": it is of {words}'


def _of_algorithms(given: Config, config: Config) -> Iterator[Problem]:
    """Find keys of the section of another algorithm."""
    alone = config.batch and not config.uses_downpour
    names = ["train.portion"] if alone else []
    names += [f"downpour.{name}" for name in vars(given.downpour) if alone and name not in CHOSEN]
    names += [f"sandblaster.{name}" for name in vars(given.sandblaster) if not config.batch]
    for name in names:
        if _is_given(given, name):
            yield name, f'has no effect with train.algorithm = "{config.train.algorithm}"'


def _of_replicas(config: Config, replicas: int) -> Iterator[Problem]:
    """Find what needs other replicas."""
    if replicas > 1:
        return
    warmstart = config.downpour.warmstart
    alone = "has no effect with one replica"
    if config.uses_downpour:
        for name, value in (("steps", warmstart.steps), ("time", warmstart.time)):
            if value:
                yield f"downpour.warmstart.{name}", f"{alone}, which always trains alone"
    if config.downpour.backups:
        yield "downpour.backups", f"{alone}, which waits for nobody else"


def _of_batches(config: Config, rows: int, replicas: int, chunk_rows: int | None) -> Iterator[Problem]:
    """Find what a batch is too small for."""
    batch = cut_batch(config.sandblaster, config.train, rows, replicas, chunk_rows)
    if config.train.minibatch > batch.examples:
        yield "train.minibatch", _most(batch.examples, "a batch")
    elif batch.portions < replicas:
        given = config.sandblaster.portions != "auto"
        name, how = ("sandblaster.portions", "more") if given else ("train.minibatch", "less")
        few = f"makes {several(batch.portions, 'portion')}, and {replicas - batch.portions} of {replicas}"
        yield name, f"{few} replicas compute nothing; give {how}, or start fewer ranks"


def _most(most: int, what: str) -> str:
    """Say that something has fewer examples than a minibatch is to have."""
    return f"is more than the {several(most, 'example')} of {what}: so many it has then; give at most {most}"


def _of_portions(config: Config, plan: PortionPlan) -> Iterator[Problem]:
    """Find what the part of a replica, or the run, is too small for."""
    train, replicas = config.train, plan.replicas
    if plan.all_rows < replicas:
        few = several(plan.all_rows, "training example")
        yield "cluster.replicas", f"makes {replicas} for {few}; start fewer ranks"
        return
    part = -(-plan.all_rows // replicas)
    most = -(-part // train.minibatch)
    if train.minibatch > part:
        what = "a replica's part of the training set" if replicas > 1 else "the training set"
        yield "train.minibatch", _most(part, what)
    elif train.portion != "auto" and train.portion > most:
        yield (
            "train.portion",
            f"is more than the {several(most, 'minibatch', 'minibatches')} of a replica's part",
        )
    portions = sum(plan.portions(0, index) for index in range(replicas)) * min(1.0, _epochs(config, plan))
    if train.steps is not None:
        portions = min(portions, train.steps / plan.portion_minibatches)
    if ceil(portions) < replicas and not config.sync:
        few = f"{several(ceil(portions), 'portion')} of {plan.portion_minibatches} minibatches"
        idle = f"{replicas - ceil(portions)} of {replicas} replicas learn nothing"
        name = "train.steps" if train.steps is not None else "train.epochs"
        yield name, f"makes {few}, and {idle}; give more, lower train.portion, or start fewer ranks"


def _epochs(config: Config, plan: PortionPlan) -> float:
    """Return the epochs of a run at the most; infinity without a limit to its minibatches."""
    train = config.train
    epochs = inf if train.epochs is None or config.batch else train.epochs
    return epochs if train.steps is None else min(epochs, train.steps * train.minibatch / plan.all_rows)


def _of_minibatches(config: Config, plan: PortionPlan) -> Iterator[Problem]:
    """Find what does not come to pass in the minibatches that the run has."""
    downpour, replicas = config.downpour, plan.replicas
    total = max(1.0, _epochs(config, plan) * plan.all_rows / min(plan.minibatch, plan.all_rows))
    for name, value, what in (
        ("downpour.n_push", downpour.n_push, "gradients are pushed after the first and at the end alone"),
        ("downpour.n_fetch", downpour.n_fetch, "parameters are fetched once"),
    ):
        if value > max(1.0, total / replicas):
            yield name, f"is more than the {total / replicas:,.0f} minibatches of a replica: {what}"
    pushes = total / downpour.n_push
    if downpour.average > max(1.0, pushes):
        yield "downpour.average", f"is more than the {pushes:,.0f} pushes of the run, which make one step"
    if replicas > 1 and downpour.warmstart.steps >= total:
        why = f"is no less than the {total:,.0f} minibatches of the run: the other replicas never begin"
        yield "downpour.warmstart.steps", why


def _of_times(given: Config, config: Config, plan: PortionPlan) -> Iterator[Problem]:
    """Find intervals that are longer than the run."""
    seconds, epochs = config.train.max_time or inf, _epochs(config, plan)
    examples = inf if epochs == inf else examples_in(epochs, plan.all_rows)
    limits = {"s of train.max_time": seconds, "epochs of the run": epochs, "examples of the run": examples}
    units = dict(zip(("s", "epochs", "examples"), limits, strict=True))
    for name, unit, what in INTERVALS:
        most = limits[units[unit]]
        if _is_given(given, name) and _value(config, name) > most:
            yield name, f"is more than the {most:,.6g} {units[unit]}: {what}"


def _value(config: Any, name: str) -> Any:
    for part in name.split("."):
        config = getattr(config, part)
    return config


def _is_given(given: Config, name: str) -> bool:
    """Return whether a value is other than the default."""
    return bool(_value(given, name) != _value(Config(), name))
