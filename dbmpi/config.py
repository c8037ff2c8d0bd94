"""The configuration: one table of sections, keys, defaults, units and limits.

Each section of the TOML file is a frozen dataclass, each key one of its fields. What a key accepts
follows from its annotation and its metadata (`Key`), and from nowhere else: the checks in
`dbmpi.settings`, the default file and docs/configuration.md are derived from it. Written out:

    python -m dbmpi.config > docs/configuration.md
    python -m dbmpi.config toml > dbmpi/default.toml
"""

import dataclasses
import json
import sys
import textwrap
import types
from dataclasses import MISSING, dataclass, field
from typing import Any, Literal, Union, get_args, get_origin

Auto = Literal["auto"]
WIDTH = 100  # of the comments in the default file, characters
LARGEST_INTEGER = 2**53  # counts stay exact as float64, as JSON and HDF5 readers take them


@dataclass(frozen=True)
class Key:
    """What one key of a section accepts, and what it is for.

    `kind` is the Python type beside the `words` (bool, int, float or str; a dataclass for a
    subtable, tuple for an array of tables); None where only the words are accepted.
    """

    name: str
    default: Any
    kind: type | None
    words: tuple[str, ...]
    optional: bool
    doc: str
    unit: str = ""
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    below: float | None = None
    duration: bool = False
    example: Any = None

    @property
    def required(self) -> bool:
        """Whether the key has to be given."""
        return self.default is MISSING

    @property
    def table(self) -> bool:
        """Whether the key is a subtable (`[train.target]`)."""
        return dataclasses.is_dataclass(self.kind)


def _key(
    default: Any,
    doc: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
    duration: bool = False,
    example: Any = None,
) -> Any:
    """Declare a key: its default, its sentence, and its limits (at least, above, at most, below)."""
    metadata = {
        "doc": doc,
        "unit": unit,
        "minimum": minimum,
        "above": above,
        "maximum": maximum,
        "below": below,
        "duration": duration,
        "example": example,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Data:
    """The examples to learn from and to evaluate on."""

    path: str = _key(
        "digits",
        'HDF5 file with groups train and test; "digits" is the embedded set. A relative path starts at the '
        "directory that the program is started in.",
    )


@dataclass(frozen=True, kw_only=True)
class Dense:
    """A fully connected layer: every unit reads every unit of the layer below."""

    type: Literal["dense"] = _key("dense", "Type of the layer.")
    units: int = _key(MISSING, "Number of units, the layer's outputs.", minimum=1, example=128)
    activation: Literal["identity", "sigmoid", "tanh", "relu"] = _key(
        "identity", "Function applied to the weighted sum of each unit."
    )


Layer = Dense  # a union, once there are more types of layer
LAYERS: dict[str, type[Layer]] = {"dense": Dense}


@dataclass(frozen=True, kw_only=True)
class Model:
    """The network: its layers from input to output, and what it minimizes."""

    loss: Literal["softmax", "logistic", "squared"] = _key(
        "softmax",
        'Loss on the last layer: softmax cross-entropy, "logistic" (one-vs-all), "squared" error. Softmax '
        'and logistic apply their own function, so the last layer must then be "identity".',
    )
    dtype: Literal["float32", "float64"] = _key(
        "float32", "Precision of parameters and computation; float64 is for checks."
    )
    l2: float = _key(
        0.0,
        "L2 penalty: adds l2 / 2 times the sum of the squared weights to the loss; biases are exempt.",
        minimum=0,
    )
    layers: tuple[Layer, ...] = _key(
        (Dense(units=128, activation="relu"), Dense(units=10)),
        "Layers from the first above the input to the output; each is a [[model.layers]] table.",
    )


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """How the ranks are divided: 1 coordinator + shards + replicas x partitions."""

    shards: int | Auto = _key(
        "auto", "Parameter server shards; auto chooses from the number of ranks.", minimum=1
    )
    replicas: int | Auto = _key(
        "auto", "Model replicas, which learn side by side; auto uses the ranks there are.", minimum=1
    )
    partitions: int | Auto = _key(
        "auto", "Ranks that each replica is split over; auto chooses from the number of ranks.", minimum=1
    )
    threads: int | Auto = _key(
        "auto",
        "Threads of each rank; auto takes the cores the rank is bound to, or its share of the node's.",
        minimum=1,
    )
    timeout_s: float = _key(
        300.0, "Longest wait for an answer from another rank; then the job ends.", unit="s", above=0
    )


@dataclass(frozen=True, kw_only=True)
class Target:
    """Results on the test set that end the run when an evaluation reaches one of them."""

    accuracy: float | None = _key(
        None,
        "Stop when the test accuracy is at least this.",
        unit="fraction",
        above=0,
        maximum=1,
        example=0.97,
    )
    loss: float | None = _key(
        None, "Stop when the test loss is at most this.", unit="per example", minimum=0, example=0.1
    )


@dataclass(frozen=True, kw_only=True)
class Train:
    """The training: how, on what minibatches, and when to stop.

    Of the ways to stop (epochs, steps, max_time, target) all that are given apply, and the first to be
    reached ends the run. The default number of epochs holds only where none is given.
    """

    algorithm: Literal["downpour"] = _key("downpour", "Training algorithm.")
    minibatch: int = _key(16, "Examples in a minibatch of one replica.", unit="examples", minimum=1)
    epochs: float | None = _key(
        40.0,
        "Stop after so many passes over the training set, all replicas together.",
        unit="epochs",
        above=0,
    )
    steps: int | None = _key(
        None,
        "Stop after so many minibatches, all replicas together.",
        unit="minibatches",
        minimum=1,
        example=1000,
    )
    max_time: float | None = _key(
        None, "Stop after so much training time.", unit="s", above=0, duration=True, example="02:00:00"
    )
    seed: int = _key(1, "Seed of the first parameters and of the order of the examples.", minimum=0)
    portion: int | Auto = _key(
        "auto", "Minibatches that a replica is given at a time.", unit="minibatches", minimum=1
    )
    divergence_factor: float = _key(
        10.0,
        "The run has diverged, and ends, when its training loss exceeds its first value this many times.",
        above=1,
    )
    target: Target = _key(Target(), "Results that end the run; evaluations look for them.")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How the learning rate changes during the run, by epochs of all replicas together."""

    kind: Literal["constant", "linear", "cosine", "exponential", "step"] = _key(
        "constant",
        "Course of the rate after the warm-up: linear and cosine fall to `final` over decay_epochs; "
        "exponential multiplies by decay_factor every decay_epochs smoothly, step all at once.",
    )
    warmup_epochs: float = _key(
        0.0, "The rate rises linearly from 0 during these first epochs.", unit="epochs", minimum=0
    )
    decay_epochs: float = _key(
        10.0, "Length of the decay (linear, cosine) or of its period.", unit="epochs", above=0
    )
    decay_factor: float = _key(0.5, "Factor of exponential and step for each period.", above=0, maximum=1)
    final: float = _key(
        0.0,
        "Where linear and cosine end.",
        unit="fraction of learning_rate",
        minimum=0,
        maximum=1,
    )


@dataclass(frozen=True, kw_only=True)
class Warmstart:
    """One replica trains alone first, before the others begin (until both limits are reached)."""

    steps: int = _key(0, "Minibatches that it trains alone; 0: none.", unit="minibatches", minimum=0)
    time: float = _key(0.0, "Time that it trains alone; 0: none.", unit="s", minimum=0)


@dataclass(frozen=True, kw_only=True)
class Downpour:
    """Downpour SGD (Dean et al. 2012, section 4.1): asynchronous replicas and the shards' rule."""

    n_fetch: int = _key(1, "Fetch the parameters every so many minibatches.", unit="minibatches", minimum=1)
    n_push: int = _key(
        1, "Push the accrued gradients every so many minibatches.", unit="minibatches", minimum=1
    )
    rule: Literal["sgd", "momentum", "adagrad", "adam"] = _key(
        "adagrad", "Rule by which the shards apply a gradient."
    )
    learning_rate: float = _key(0.02, "Learning rate of the shards' rule (gamma of Adagrad).", above=0)
    local_rate: float | Auto = _key(
        "auto",
        "Fixed rate of a replica's steps on its own copy between fetches; auto: learning_rate for sgd, a "
        "tenth of it for the other rules.",
        minimum=0,
    )
    overlap: bool | Auto = _key(
        "auto",
        "Whether fetch and push go on in the background while minibatches are computed. auto waits for each "
        "fetch with one replica, which then repeats exactly from its seed, and where four or more ranks "
        "share a core, which others then use; it overlaps otherwise.",
    )
    max_staleness: int = _key(
        0,
        "Shards refuse pushes computed from parameters older than this, and a replica fetches after so many "
        "minibatches at the latest; 0: no limit.",
        unit="updates",
        minimum=0,
    )
    momentum: float = _key(0.9, "Decay of the velocity (momentum).", minimum=0, below=1)
    beta1: float = _key(0.9, "Decay of the mean gradient (adam).", minimum=0, below=1)
    beta2: float = _key(0.999, "Decay of the mean squared gradient (adam).", minimum=0, below=1)
    epsilon: float = _key(1e-8, "Keeps the divisors of adagrad and adam from zero.", above=0)
    max_gradient_norm: float = _key(
        0.0,
        "A shard refuses a gradient (of one of its pieces) with a larger norm; 0: only non-finite ones.",
        minimum=0,
    )
    wire: Literal["float32", "bfloat16", "float16"] = _key(
        "float32",
        "Precision of pushed gradients: the model's own, or a 16-bit one whose error is carried over to the "
        "next push.",
    )
    schedule: Schedule = _key(Schedule(), "Learning-rate schedule.")
    warmstart: Warmstart = _key(Warmstart(), "Training of one replica alone.")

    @property
    def waits(self) -> bool:
        """Whether each fetch is waited for, once `launch.resolve_overlap` has chosen what was "auto"."""
        return self.overlap is False


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Loss and accuracy on the test set during the run; there is always one at the end."""

    every_epochs: float = _key(1.0, "Evaluate every so many epochs; 0: off.", unit="epochs", minimum=0)
    every_s: float = _key(0.0, "Evaluate every so many seconds; 0: off.", unit="s", minimum=0)
    minibatch: int = _key(250, "Examples evaluated at a time.", unit="examples", minimum=1)


@dataclass(frozen=True, kw_only=True)
class Output:
    """Records in metrics.jsonl, and what is shown while the program runs."""

    every_s: float = _key(1.0, "Interval of the train records.", unit="s", above=0)
    shard_every_s: float = _key(5.0, "Interval of the shard records.", unit="s", above=0)
    progress: Literal["auto", "bar", "plain", "none"] = _key(
        "auto", "Progress as a bar, as plain lines or not at all; auto: a bar on a terminal, else lines."
    )
    plain_every_s: float = _key(30.0, "Interval of the plain lines.", unit="s", above=0)


@dataclass(frozen=True, kw_only=True)
class Config:
    """The whole configuration of a run; every section has the name of its field."""

    data: Data = Data()
    model: Model = Model()
    cluster: Cluster = Cluster()
    train: Train = Train()
    downpour: Downpour = Downpour()
    evaluation: Evaluation = Evaluation()
    output: Output = Output()


def keys(section: type) -> dict[str, Key]:
    """Return the keys of a section, by name, as its annotations and metadata describe them.

    Parameters
    ----------
    section
        `Config`, one of its sections, a subtable, or a type of layer.
    """
    return {f.name: _describe(f) for f in dataclasses.fields(section)}


def _describe(f: "dataclasses.Field[Any]") -> Key:
    parts = get_args(f.type) if get_origin(f.type) in (Union, types.UnionType) else (f.type,)
    words = tuple(word for part in parts if get_origin(part) is Literal for word in get_args(part))
    kinds = [get_origin(part) or part for part in parts if get_origin(part) is not Literal]
    optional = types.NoneType in kinds
    kind = next((kind for kind in kinds if kind is not types.NoneType), None)
    metadata = dict(f.metadata) or {"doc": summary(f.type)}
    return Key(f.name, f.default, kind, words, optional, **metadata)


def summary(section: Any) -> str:
    """Return the first sentence of a section's docstring."""
    return str(section.__doc__).partition("\n")[0]


def accepts(key: Key) -> str:
    """Say what a key accepts: `an integer of at least 1 or "auto"`."""
    if key.duration:
        return 'a number of seconds above 0, "HH:MM:SS" or "D-HH:MM:SS"'
    names = {int: "an integer", float: "a number", str: "a string", tuple: "tables"}
    limits = [
        f"of at least {key.minimum:g}" if key.minimum is not None else "",
        f"above {key.above:g}" if key.above is not None else "",
        f"at most {key.maximum:g}" if key.maximum is not None else "",
        f"below {key.below:g}" if key.below is not None else "",
    ]
    limit = " and ".join(part for part in limits if part)
    scalars = ["true", "false"] if key.kind is bool else [names[key.kind]] if key.kind in names else []
    return listed([f"{scalar} {limit}".strip() for scalar in scalars] + [f'"{word}"' for word in key.words])


def listed(items: list[str]) -> str:
    """Join alternatives for reading: `a, b or c`."""
    return " or ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def to_dict(config: Config) -> dict[str, Any]:
    """Return the configuration as nested dictionaries and lists, ready for JSON; unset keys are None."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def to_toml(config: Config) -> str:
    """Write the resolved configuration as a TOML file that gives it back; unset keys are left out."""
    return "\n".join(_table(name, section) for name, section in vars(config).items())


def _table(path: str, section: Any, brackets: str = "[{}]") -> str:
    values = vars(section)
    lines = [brackets.format(path)]
    lines += [f"{name} = {literal(value)}" for name, value in values.items() if _plain(value)]
    tables = [_table(f"{path}.{n}", v) for n, v in values.items() if dataclasses.is_dataclass(v)]
    for name, value in values.items():
        if isinstance(value, tuple):
            tables += [_table(f"{path}.{name}", item, "[[{}]]") for item in value]
    return "\n".join(["\n".join(lines) + "\n", *tables])


def _plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str)


def literal(value: Any) -> str:
    """Write a scalar as TOML. JSON's strings are TOML's, but for one control character."""
    if isinstance(value, str | bool):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def default_toml() -> str:
    """Write the commented default file: every key, its sentence, what it accepts, its default."""
    head = (
        "# The default configuration of dbmpi: every key with its default. Copy what you want to change.\n"
        "# A key that has no default is commented out. docs/configuration.md has the same as tables.\n"
    )
    return "\n".join([head, *(_default_section(name, key.kind) for name, key in keys(Config).items())])


def _default_section(path: str, section: Any) -> str:
    lines = [_comment(summary(section)), f"[{path}]"]
    tables: list[str] = []
    for key in keys(section).values():
        if key.table:
            tables.append(_default_section(f"{path}.{key.name}", key.kind))
        elif key.kind is tuple:
            tables.append(_default_layers(path, key))
        else:
            lines += [_comment(_sentence(key)), _assignment(key, key.default)]
    return "\n".join(["\n".join(lines) + "\n", *tables])


def _default_layers(path: str, key: Key) -> str:
    explained = [_comment(f"{k.name}: {_sentence(k)}") for k in keys(Dense).values()]
    tables = [_table(f"{path}.{key.name}", layer, "[[{}]]") for layer in key.default]
    return "\n".join([_comment(key.doc), *explained, "\n".join(tables)])


def _assignment(key: Key, value: Any) -> str:
    if value is None:
        return f"# {key.name} = {literal(key.example)}"
    return f"{key.name} = {literal(value)}"


def _sentence(key: Key) -> str:
    unit = f" [{key.unit}]" if key.unit else ""
    return f"{key.doc}{unit} Accepts {accepts(key)}."


def _comment(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def markdown() -> str:
    """Write docs/configuration.md: one table of keys for each section."""
    head = (
        "# Configuration\n\n"
        "A run is described by one TOML file and by `--set section.key=value` on the command line, which\n"
        "wins over the file. Every key may be left out, but for a layer's `type` and `units`; the word\n"
        '`"none"` unsets a key that can be *unset*. `python -m dbmpi.train --print-config` shows what a run\n'
        "would use; `dbmpi/default.toml` is the same as below, as a file to start from.\n\n"
        "This page is written by `python -m dbmpi.config > docs/configuration.md`.\n"
    )
    return "\n".join([head, *(_page_section(name, key.kind) for name, key in keys(Config).items())])


def _page_section(path: str, section: Any, brackets: str = "[{}]") -> str:
    doc = textwrap.dedent("    " + str(section.__doc__)).strip()
    rows = ["| key | default | unit | accepts | |", "| --- | --- | --- | --- | --- |"]
    tables: list[str] = []
    for key in keys(section).values():
        if key.table:
            tables.append(_page_section(f"{path}.{key.name}", key.kind))
            continue
        rows.append(_row(key))
        if key.kind is tuple:
            tables += [_page_section(f"{path}.{key.name}", layer, "[[{}]]") for layer in LAYERS.values()]
    return "\n".join([f"## `{brackets.format(path)}`\n\n{doc}\n", "\n".join(rows) + "\n", *tables])


def _row(key: Key) -> str:
    if key.kind is tuple:
        default = ", ".join(f"{layer.type} {layer.units} {layer.activation}" for layer in key.default)
    elif key.required:
        default = "*required*"
    else:
        default = "*unset*" if key.default is None else f"`{literal(key.default)}`"
    return f"| `{key.name}` | {default} | {key.unit} | {accepts(key)} | {key.doc} |"


if __name__ == "__main__":
    sys.stdout.write(default_toml() if sys.argv[1:] == ["toml"] else markdown())
