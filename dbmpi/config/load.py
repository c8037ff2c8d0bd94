"""From a TOML file and `--set` to a checked `Config`. Pure Python, without MPI.

What each key accepts is declared in `config.sections` and checked here, and so is what several keys say
together. Every mistake is a `UserError` that names the place (`run.toml: train.minibatch`,
`--set train.minibatch`), the value and the remedy.
"""

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from dbmpi.config import saved
from dbmpi.config.algorithms import REVISING
from dbmpi.config.hints import every_key
from dbmpi.config.layers import LAYERS, UNITS_OF_DATA, Dense, Dropout
from dbmpi.config.schema import Key, accepts, keys
from dbmpi.config.sections import Config
from dbmpi.config.source import Source, parse, read
from dbmpi.config.values import UNSET, intended, remedy, scalar
from dbmpi.errors import UserError
from dbmpi.text import Trail, dotted, listed, nearest, several, show


def load(path: str | PathLike[str] | None, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file, apply `--set` overrides, and check everything.

    Parameters
    ----------
    path
        The TOML file; None for the defaults.
    overrides
        Texts `section.key=value`; later ones win.

    Raises
    ------
    UserError
        For anything that is wrong with the file, a key or a value.
    """
    if path is None:
        return loads(b"", overrides, "the defaults")
    return loads(read(Path(path)), overrides, str(path))


def loads(content: bytes, overrides: Sequence[str] = (), name: str = "the configuration") -> Config:
    """Check a configuration given as the bytes of a TOML file; `name` is its place in messages.

    Raises
    ------
    UserError
        As `load`.
    """
    source = Source(name, parse(content, name))
    saved.complete(source.values)
    for number in range(len(overrides)):
        source.override(overrides, number)
    return _resolve(source)


def _resolve(source: Source) -> Config:
    """Build the configuration, and check and complete what keys say together."""
    config: Config = _build(Config, source.values, (), source)
    _check_stopping(config, source)
    _check_initial(config, source)
    _check_batch_method(config, source)
    _check_rounds(config, source)
    _check_revision(config, source)
    _check_output_layer(config, source)
    return _with_partitions(_without_default_epochs(_with_rounds(config), source), source)


def _build(section: Any, table: Any, trail: Trail, source: Source) -> Any:
    """Make a section's dataclass from its table, key by key."""
    known = keys(section)
    if not isinstance(table, dict):
        example = source.instead(trail, table) or listed([f"{dotted(trail)}.{name}" for name in known][:3])
        raise UserError(f"{source.place(trail)} = {show(table)} should be a table; give {example}")
    for name in table:
        if name not in known:
            raise _unknown(name, table[name], section, trail, source)
    values = {name: _convert(known[name], value, (*trail, name), source) for name, value in table.items()}
    for key in known.values():
        if key.required and key.name not in values:
            raise UserError(f"{source.place((*trail, key.name))} is missing; give {accepts(key)}")
    return section(**values)


def _convert(key: Key, value: Any, trail: Trail, source: Source) -> Any:
    """Return the value of a key in its type."""
    if key.table:
        return _build(key.kind, value, trail, source)
    if key.kind is tuple:
        return _layers(value, trail, source)
    if key.optional and value == UNSET:
        return None
    try:
        return scalar(key, value)
    except ValueError as problem:
        place, meant = source.place(trail, value), intended(key, value)
        how = f"give {source.written(trail, meant)}" if meant else remedy(key, value)
        raise UserError(f"{place} = {show(value)} {problem}; {how}") from None


def _layers(value: Any, trail: Trail, source: Source) -> tuple[Any, ...]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise UserError(
            f"{source.place(trail, value)} = {show(value)} should be an array of tables; "
            f"write [[{dotted(trail)}]], with two brackets, over each layer"
        )
    if not value:
        raise UserError(f"{source.place(trail)} = [] leaves no layer; give at least the output layer")
    return tuple(_layer(table, (*trail, str(index)), source) for index, table in enumerate(value))


def _layer(table: dict[str, Any], trail: Trail, source: Source) -> Any:
    kind = table.get("type")
    if not isinstance(kind, str) or kind not in LAYERS:
        given = "is missing" if kind is None else f"= {show(kind)} is no type of layer"
        choices = listed([f'"{name}"' for name in LAYERS])
        raise UserError(f"{source.place((*trail, 'type'))} {given}; give {choices}{nearest(kind, LAYERS)}")
    return _build(LAYERS[kind], table, trail, source)


def _unknown(name: str, value: Any, section: Any, trail: Trail, source: Source) -> UserError:
    """Make the error for a key that does not exist, with the nearest one or the section it is in."""
    place = source.place((*trail, name), value)
    what = "section" if section is Config else "key"
    hint = source.hint((*trail, name), value, nearest(name, keys(section))) or _elsewhere(name)
    names = ", ".join(keys(section))
    return UserError(f"{place}: there is no such {what}{hint}; {dotted(trail) or 'the sections'}: {names}")


def _elsewhere(name: str) -> str:
    """Name the sections, or the types of layer, that have a key of this name; nothing if none has."""
    homes = [dotted(trail) for trail, _ in every_key() if trail[-1] == name]
    if homes:
        return f" (did you mean {listed(homes)}?)"
    kinds = [kind for kind, layer in LAYERS.items() if name in keys(layer)]
    return f" (it belongs to layers of type {listed(kinds)})" if kinds else ""


def _check_stopping(config: Config, source: Source) -> None:
    train, evaluation = config.train, config.evaluation
    target = train.target.accuracy is not None or train.target.loss is not None
    endless = train.epochs is None and train.steps is None and train.max_time is None and not target
    if endless and not config.batch:
        raise UserError(
            f'{source.place(("train", "epochs"))} = "{UNSET}" leaves no way to stop; '
            "give train.epochs, train.steps, train.max_time or train.target"
        )
    if train.patience is not None and not (evaluation.enabled and config.checkpoint.best):
        raise UserError(
            f"{source.place(('train', 'patience'))} = {train.patience} needs evaluations, and keeps the best "
            "checkpoint: leave evaluation.every_epochs and checkpoint.best as they are by default"
        )
    if target and not evaluation.every_epochs and not evaluation.every_s:
        raise UserError(
            f"{source.place(('evaluation', 'every_epochs'))} = 0 leaves train.target without evaluations "
            "that could reach it; give evaluation.every_epochs or evaluation.every_s"
        )


def _check_initial(config: Config, source: Source) -> None:
    """Refuse what is to be left out of nothing."""
    if config.train.initial_skip is not None and config.train.initial is None:
        raise UserError(
            f"{source.place(('train', 'initial_skip'))} = {show(config.train.initial_skip)} is of the model "
            "that train.initial names, and that is not given; give it, or leave this out"
        )


def _check_batch_method(config: Config, source: Source) -> None:
    """Refuse what has no meaning for a batch method."""
    if config.train.algorithm != "sandblaster":
        return
    if config.train.steps is not None:
        raise UserError(
            f"{source.place(('train', 'steps'))} counts minibatches of downpour, but train.algorithm = "
            '"sandblaster" counts iterations; give sandblaster.iterations instead'
        )
    if config.train.average is not None:
        raise UserError(
            f"{source.place(('train', 'average'))} = {show(config.train.average)} is of parameters that go "
            'to and fro, but with train.algorithm = "sandblaster" each iterate is better than all before; '
            'leave it out, or take train.algorithm = "downpour"'
        )
    for name, given in (("flip", config.train.flip), ("shift", config.train.shift)):
        if given:
            raise UserError(
                f"{source.place(('train', name))} = {show(given)} gives the batch another loss in each pass, "
                'which no line search can follow; leave it out, or take train.algorithm = "downpour"'
            )
    for index, layer in enumerate(config.model.layers):
        if isinstance(layer, Dropout):
            raise UserError(
                f'{source.place(("model", "layers", str(index), "type"))} = "dropout" gives the batch '
                "another loss in each pass, which no line search can follow; leave the layer out, or take "
                'train.algorithm = "downpour"'
            )


def _check_rounds(config: Config, source: Source) -> None:
    """Refuse what has no meaning where replicas learn in rounds, and what has none where they do not."""
    settings = config.downpour
    if config.sync:
        given: dict[Trail, object] = {
            ("n_push",): settings.n_push > 1,
            ("n_fetch",): settings.n_fetch > 1,
            ("overlap",): settings.overlap is True,
            ("average",): settings.average > 1,
            ("local_rate",): settings.local_rate != "auto",
            ("max_staleness",): settings.max_staleness > 0,
            ("warmstart", "steps"): settings.warmstart.steps,
            ("warmstart", "time"): settings.warmstart.time,
        }
        why = 'has no meaning with train.algorithm = "sync", where all replicas wait for one step'
        other = "downpour"
    else:
        given = {("backups",): settings.backups}
        why = "is of rounds that replicas wait for, and with train.algorithm = "
        why, other = f'{why}"{config.train.algorithm}" there are none', "sync"
    for trail in [trail for trail, is_given in given.items() if is_given]:
        value = source.values["downpour"]
        for name in trail:
            value = value[name]
        raise UserError(
            f"{source.place(('downpour', *trail), value)} = {show(value)} {why}; leave it out, or take "
            f'train.algorithm = "{other}"'
        )


def _check_revision(config: Config, source: Source) -> None:
    """Refuse the rule for late gradients where none is late, or a step is made for several."""
    settings = config.downpour
    if settings.rule not in REVISING or not (config.sync or settings.average > 1):
        return
    where = 'train.algorithm = "sync", where no gradient is late' if config.sync else "downpour.average"
    place = source.place(("downpour", "rule"))
    raise UserError(f'{place} = "{settings.rule}" has no meaning with {where}; give "adagrad"')


def _with_rounds(config: Config) -> Config:
    """Let every fetch be waited for where replicas learn in rounds."""
    return replace(config, downpour=replace(config.downpour, overlap=False)) if config.sync else config


def _check_output_layer(config: Config, source: Source) -> None:
    model = config.model
    for index, layer in enumerate(model.layers[:-1]):
        if isinstance(layer, Dense) and layer.units == UNITS_OF_DATA:
            raise UserError(
                f'{source.place(("model", "layers", str(index), "units"))} = "auto" is of the last layer '
                "alone, whose units are the classes or targets of the data; give a number"
            )
    last, trail = model.layers[-1], ("model", "layers", str(len(model.layers) - 1))
    if not isinstance(last, Dense):
        raise UserError(
            f'{source.place((*trail, "type"))} = "{last.type}" on the last layer, but the loss is that of '
            'dense units; add a layer after it with type "dense" and a unit for each class or target'
        )
    if model.loss == "squared" or last.activation == "identity":
        return
    functions = {"softmax": "the softmax", "logistic": "the sigmoid", "auto": "a function of its own"}
    function = functions[model.loss]
    raise UserError(
        f'{source.place((*trail, "activation"))} = "{last.activation}" on the last layer, but model.loss = '
        f'"{model.loss}" applies {function} to its output itself; give "identity" there, or '
        'model.loss = "squared"'
    )


def _without_default_epochs(config: Config, source: Source) -> Config:
    """Take the default number of epochs away where another end of the run is given: not only one of a job."""
    train, given = config.train, source.values.get("train", {})
    limits = (train.steps, train.target.accuracy, train.target.loss)
    if "epochs" in given or (not config.batch and all(limit is None for limit in limits)):
        return config
    return replace(config, train=replace(train, epochs=None))


def _with_partitions(config: Config, source: Source) -> Config:
    """Give each tile of `cluster.grid` its partition, and refuse another number of them."""
    cluster = config.cluster
    if cluster.grid is None:
        return config
    rows, columns = cluster.grid
    if cluster.partitions not in ("auto", rows * columns):
        tiles = several(rows * columns, "tile")
        raise UserError(
            f"{source.place(('cluster', 'grid'))} = [{rows}, {columns}] has {tiles}, but "
            f"cluster.partitions = {cluster.partitions}; give two numbers whose product is that, or leave "
            "one of the two keys out"
        )
    return replace(config, cluster=replace(cluster, partitions=rows * columns))
