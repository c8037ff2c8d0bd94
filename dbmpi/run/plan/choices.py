"""What "auto" stands for in the keys that decide whether a run learns: rule, rate, minibatch, warm-up. Pure.

A function of the network, the rows to learn from, the replicas and the keys that are given: the same run
chooses the same. The numbers are measured (docs/performance.md, "What the defaults choose"); all but this
module go by the resolved configuration. A run that goes on keeps what its checkpoint's run had chosen, as the
states of the rule on the shards are of that rule.
"""

from dataclasses import replace
from math import ceil, sqrt
from typing import Final

from dbmpi.config.algorithms import REVISING
from dbmpi.config.layers import Dense
from dbmpi.config.schema import Auto
from dbmpi.config.sections import Config, Model
from dbmpi.layout.network import Network

AUTO: Auto = "auto"
# Alone of the four it learned on every table at a rate by the formula below. A rate that is given without a
# rule is one of Adagrad, too: it was once the default.
RULE: Final = "adagrad"

# Adagrad's first step moves each weight by the whole rate, and so what a unit sums by rate x connections:
# units of more connections than `BORNE` want less of it. A large table bears a higher rate than a small one,
# which is learned by heart, and that sooner where each example has a number of its own to be learned.
BASE_RATE, BORNE = {"softmax": 0.05, "logistic": 0.05, "squared": 0.03}, 128
FEW_ROWS, MOST_GROWN = 1000, 4.0
# So many learn nothing by heart; of more the rate falls with their number, but not where updates are few.
FEW_EPOCHS, FEW_UPDATES = 8.0, 200.0
OF_ADAGRAD = {"adagrad": 1.0, "adarevision": 2.0, "adam": 0.05}  # a rate of the rule for one of Adagrad
# Of steps in proportion to the gradient, which the squared loss of an outlier makes large.
SGD_RATE = {"softmax": 0.1, "logistic": 0.1, "squared": 0.01}
OF_SGD = {"sgd": 1.0, "momentum": 0.1}
PATIENT_REPLICAS = 10  # with so many more, gradients are so old that the rate falls by the square root of two

MINIBATCHES = 16, 32, 64, 128
EPOCH = 400  # minibatches that an epoch of one replica is to have
BATCH_MINIBATCHES, PORTIONS = (16, 32, 64, 128, 256), 16  # of a batch method; portions for each replica

RECORDS = 200  # of training, that a run is to have at least

WARMUP_STEPS, MOST_OF_RUN, MOST_EPOCHS = 50, 0.1, 1.0


def complete(config: Config, network: Network, rows: int, replicas: int) -> Config:
    """Return the configuration with a value for every "auto" of these keys.

    Parameters
    ----------
    rows
        Examples in the training set.
    replicas
        Model replicas R, at least 1.
    """
    train, downpour = config.train, config.downpour
    if train.minibatch == AUTO:
        train = replace(train, minibatch=_minibatch(config, rows, replicas))
    if downpour.rule == AUTO:
        downpour = replace(downpour, rule=RULE)
    if downpour.learning_rate == AUTO:
        # In rounds no gradient is late, and adarevision takes back what late ones did too much.
        late = 1 if config.sync or downpour.rule in REVISING else replicas
        share = _of_long_runs(config, train.minibatch, rows)
        downpour = replace(downpour, learning_rate=_rate(downpour.rule, network, rows, late, share))
    if downpour.schedule.warmup_epochs == AUTO:
        epochs = _warmup_epochs(config, train.minibatch, rows, replicas)
        downpour = replace(downpour, schedule=replace(downpour.schedule, warmup_epochs=epochs))
    return replace(config, train=train, downpour=downpour)


def carried_over(config: Config, saved: Config) -> Config:
    """Return the configuration with what a checkpoint's run had in place of "auto".

    The rate is taken where the rule is the same; another rule wants another one. A rule for late gradients
    is not taken where there are none (`config.load` refuses it there); Adagrad goes on with its squares. What
    a minibatch is differs between the algorithms, so it is kept with the algorithm only.
    """
    config = replace(config, model=_model_as_before(config.model, saved.model))
    if config.data.scaling == AUTO:
        config = replace(config, data=replace(config.data, scaling=saved.data.scaling))
    train, downpour, had = config.train, config.downpour, saved.downpour
    in_time = config.sync or downpour.average > 1
    same = train.algorithm == saved.train.algorithm
    if train.minibatch == AUTO and same:
        train = replace(train, minibatch=saved.train.minibatch)
    if downpour.rule == AUTO and not (in_time and had.rule in REVISING):
        downpour = replace(downpour, rule=had.rule)
    if downpour.learning_rate == AUTO and downpour.rule == had.rule:
        downpour = replace(downpour, learning_rate=had.learning_rate)
    if downpour.schedule.warmup_epochs == AUTO and same:
        schedule = replace(downpour.schedule, warmup_epochs=had.schedule.warmup_epochs)
        downpour = replace(downpour, schedule=schedule)
    return replace(config, train=train, downpour=downpour)


def _model_as_before(model: Model, saved: Model) -> Model:
    """Return the model with the loss, first weights and units of the last layer that another one had."""
    last, had = model.layers[-1], saved.layers[-1]
    if model.loss == AUTO:
        model = replace(model, loss=saved.loss)
    if model.init == AUTO:
        model = replace(model, init=saved.init)
    if isinstance(last, Dense) and isinstance(had, Dense) and last.units == AUTO:
        model = replace(model, layers=(*model.layers[:-1], replace(last, units=had.units)))
    return model


def told(given: Config, chosen: Config) -> str:
    """Say what was chosen for each "auto" of a configuration; nothing where there was none."""
    before, after = _values(given), _values(chosen)
    return ", ".join(f"{name} = {after[name]}" for name, value in before.items() if value == AUTO)


def _values(config: Config) -> dict[str, object]:
    """Return the keys that may be "auto" until a run begins, and that the algorithm uses, by name."""
    values: dict[str, object] = {"data.scaling": config.data.scaling, "model.loss": config.model.loss}
    values["model.init"] = config.model.init
    if isinstance(last := config.model.layers[-1], Dense):
        values[f"model.layers.{len(config.model.layers) - 1}.units"] = last.units
    values["train.minibatch"] = config.train.minibatch
    if config.uses_downpour:
        values["downpour.rule"] = config.downpour.rule
        values["downpour.learning_rate"] = config.downpour.learning_rate
        values["downpour.schedule.warmup_epochs"] = config.downpour.schedule.warmup_epochs
    return values


def _minibatch(config: Config, rows: int, replicas: int) -> int:
    """Choose the power of two that is nearest to what gives an epoch enough minibatches.

    Many replicas learn from old parameters, as many updates old as there are others: the more updates an
    epoch has, the less that is. Few examples at a time cost more time each. In rounds the minibatches of all
    replicas together are one.
    """
    if not config.uses_downpour:
        return min(BATCH_MINIBATCHES, key=lambda size: abs(size - rows / (PORTIONS * replicas)))
    wanted = rows / (EPOCH * (replicas if config.sync else sqrt(replicas)))
    return min(MINIBATCHES, key=lambda size: abs(size - wanted))


def _rate(rule: str, network: Network, rows: int, replicas: int, most: float) -> float:
    """Choose the rate for a rule, of two digits; `most` is the share that the length of the run allows."""
    if rule in OF_SGD:
        rate = OF_SGD[rule] * SGD_RATE[network.loss]
    else:
        connections = max(tensor.fan_in for tensor in network.tensors)
        grown = min(max(rows / FEW_ROWS, 1.0) ** 0.25, MOST_GROWN)
        rate = OF_ADAGRAD[rule] * BASE_RATE[network.loss] * grown * min(most, BORNE / connections)
    return float(f"{rate / sqrt(1 + (replicas - 1) / PATIENT_REPLICAS):.2g}")


def _of_long_runs(config: Config, minibatch: int, rows: int) -> float:
    """Return what the rate of a table is multiplied by at most: many epochs learn its noise by heart.

    Pixels have less of that, and columns that are scaled one by one bring as much each.
    """
    epochs = min(_lengths(config, minibatch, rows), default=0.0)
    if config.data.scaling != "columns" or not epochs:
        return 1.0
    updates = epochs * rows / minibatch
    return min(1.0, max(FEW_EPOCHS / epochs, FEW_UPDATES / updates))


def _lengths(config: Config, minibatch: int, rows: int) -> list[float]:
    """Return the epochs after which the limits of a run end it."""
    train = config.train
    lengths = [train.epochs, None if train.steps is None else train.steps * minibatch / rows]
    return [length for length in lengths if length is not None]


def examples_a_record(config: Config, rows: int) -> int:
    """Return after how many examples a train record is due, of a complete configuration; 0: after none.

    A run without such a limit counts as one of the default length. Each iteration of a batch method has a
    record of its own.
    """
    setting = config.output.every_examples
    if setting != AUTO:
        return setting
    if config.batch:
        return 0
    lengths = _lengths(config, config.train.minibatch, rows) or _lengths(Config(), 1, rows)
    return ceil(min(lengths) * rows / RECORDS)


def _warmup_epochs(config: Config, minibatch: int, rows: int, replicas: int) -> float:
    """Choose the epochs in which the rate rises, with two digits."""
    steps = 2 * replicas if config.sync else replicas + 1  # a step of a round is of so many minibatches
    wanted = WARMUP_STEPS * steps * minibatch / rows
    limits = [MOST_OF_RUN * length for length in _lengths(config, minibatch, rows)]
    return float(f"{min(wanted, MOST_EPOCHS, *limits):.2g}")
