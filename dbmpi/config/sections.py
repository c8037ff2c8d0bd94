"""The configuration: the sections of the TOML file, and the keys of each with defaults, units and limits.

A section is a frozen dataclass, a key one of its fields. What a key accepts follows from its annotation and
its metadata alone (`config.schema`): the checks in `config.load` and the pages that `config.page` writes are
derived from them. The sections of one training algorithm are in `config.algorithms`, the types of layer in
`config.layers`, what a run leaves in `config.records`.
"""

from dataclasses import dataclass
from typing import Literal

from dbmpi.config.algorithms import Downpour, Sandblaster
from dbmpi.config.layers import UNITS_OF_DATA, Dense, Layer
from dbmpi.config.records import Checkpoint, Output
from dbmpi.config.schema import MOST_RANKS, Auto, key


@dataclass(frozen=True, kw_only=True)
class Data:
    """The examples to learn from and to evaluate on."""

    path: str = key(
        "digits",
        'HDF5 file with groups train and test; "digits" is the embedded set. A relative path starts at the '
        "directory that the program is started in.",
    )
    inputs: str = key(
        "x",
        "Data set of the inputs: a name in the group of each split, or in the file where it has no group "
        'train; or a path, as "/images", whose rows are the training set. {split} in it stands for train, '
        "validation and test.",
    )
    targets: str = key("y", "Data set of the labels or targets, named in the same way.")
    layout: Literal["channels_last", "channels_first"] = key(
        "channels_last", "Whether images are (N, H, W, C) or (N, C, H, W) in the file."
    )
    labels: Literal["auto", "stored", "classes"] = key(
        "auto",
        "What integers are: labels as they are stored, or classes, of which the smallest is label 0, the "
        "next 1. auto: classes where they do not count from 0, but are as many as the last layer has units. "
        "Texts and one-hot rows are classes in any case.",
    )
    validation: str = key(
        "validation",
        'What the file calls the split validation: its group, and what {split} stands for, as "val".',
    )
    test_fraction: float | Auto = key(
        "auto",
        "Share of the training rows that is cut for test, where the file has none; auto: a tenth, "
        "but none of a group train, beside which test may have been lost. Classes keep their shares.",
        unit="fraction",
        minimum=0,
        below=1,
    )
    validation_fraction: float = key(
        0.0,
        "Share of the training rows that is cut for validation, where the file has none; 0: none.",
        unit="fraction",
        minimum=0,
        below=1,
    )
    cut_seed: int = key(1, "Seed of the rows that are cut.", minimum=0)
    groups: str | None = key(
        None,
        "Data set of a group for each training row, an integer or a text: what is cut has all rows of a "
        'group or none. A name beside the inputs, or a path, as "/speakers".',
        example="speakers",
    )
    weights: str | None = key(
        None,
        "Data set of a number of at least 0 for each training row: what the loss of an example is multiplied "
        "by in training. Named as the targets are, or beside them.",
        example="weights",
    )
    scaling: Literal["none", "columns", "all", "auto"] = key(
        "auto",
        "Bring inputs to a mean of 0 and a deviation of 1, each column for itself or all by one mean and "
        "deviation, and float targets each for itself; found in the training set at the start of a run, and "
        "kept in its checkpoints and its model. none: what the file says (scale and offset) is all. auto: "
        "columns for features, none for images and where the file has a scale, all for images of other sizes "
        "than usual and where there are float targets.",
    )


@dataclass(frozen=True, kw_only=True)
class Model:
    """The network: its layers from input to output, and what it minimizes."""

    loss: Literal["auto", "softmax", "logistic", "squared"] = key(
        "auto",
        'Loss on the last layer: softmax cross-entropy, "logistic" (one-vs-all), "squared" error. Softmax '
        'and logistic apply their own function, so the last layer must then be "identity". auto: softmax for '
        "integer labels, logistic for targets of 0 and 1 in several columns, squared for floats.",
    )
    dtype: Literal["float32", "float64"] = key(
        "float32", "Precision of parameters and computation; float64 is for checks."
    )
    init: Literal["auto", "he", "flat"] = key(
        "auto",
        "First weights, by the I connections that a unit has below and the O above. he: of variance 2 / I "
        "below ReLU, 2 / (I + O) elsewhere. flat: of 2 / (I + O) everywhere, and of a hundredth of it in the "
        "last layer, so that the first answers are nearly the same for all examples. auto: flat where each "
        "column of features is scaled (data.scaling), he otherwise.",
    )
    l2: float = key(
        0.0,
        "L2 penalty: adds l2 / 2 times the sum of the squared weights to the loss; biases are exempt.",
        minimum=0,
    )
    layers: tuple[Layer, ...] = key(
        (Dense(units=128, activation="relu"), Dense(units=UNITS_OF_DATA)),
        "Layers from the first above the input to the output, which is dense; each is a [[model.layers]] "
        "table.",
    )


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """How the ranks are divided: 1 coordinator + shards + replicas x partitions."""

    shards: int | Auto = key(
        "auto",
        "Parameter server shards; auto chooses from the number of ranks.",
        minimum=1,
        maximum=MOST_RANKS,
    )
    replicas: int | Auto = key(
        "auto",
        "Model replicas, which learn side by side; auto uses the ranks there are.",
        minimum=1,
        maximum=MOST_RANKS,
    )
    partitions: int | Auto = key(
        "auto",
        "Ranks that each replica is split over; auto splits it only where memory asks for it, or where ranks "
        "would be left over and a step is faster so.",
        minimum=1,
        maximum=1024,
    )
    grid: tuple[int, int] | None = key(
        None,
        "Rows and columns of the tiles that images are cut into, as many as partitions; unset: as square as "
        "can be, with no more rows than columns.",
        minimum=1,
        example=(2, 3),
    )
    threads: int | Auto = key(
        "auto",
        "Threads of each rank, for kernels and matrix products together; auto takes the cores the rank is "
        "bound to, or its share of the node's.",
        minimum=1,
        maximum=1024,
    )
    timeout_s: float = key(
        300.0,
        "How long a rank may give no sign of life. One that is silent for 1.5 times as long is killed where "
        "ranks may die, else the job ends, with a checkpoint if it is of a replica. Time in which a job is "
        "suspended, or the rank that waits, does not count.",
        unit="s",
        above=0,
        maximum=1e7,
    )


@dataclass(frozen=True, kw_only=True)
class Target:
    """Results that end the run when an evaluation reaches one: on validation rows, or test where are none."""

    accuracy: float | None = key(
        None,
        "Stop when the accuracy is at least this.",
        unit="fraction",
        above=0,
        maximum=1,
        example=0.97,
    )
    loss: float | None = key(
        None, "Stop when the loss is at most this.", unit="per example", minimum=0, example=0.1
    )


@dataclass(frozen=True, kw_only=True)
class Train:
    """The training: how, on what minibatches, and when to stop.

    Of the ways to stop (epochs, steps, max_time, target) all that are given apply, and the first to be
    reached ends the run. The default number of epochs holds where no other is given but max_time, which
    ends a job and not the run. Sandblaster stops by its own section too.
    """

    algorithm: Literal["downpour", "sync", "sandblaster"] = key(
        "downpour",
        "Training algorithm: asynchronous minibatches; synchronous ones, with one step of the rule (section "
        "downpour) for a minibatch of each replica; or a batch method that all replicas compute for.",
    )
    minibatch: int = key(
        "auto",
        "Examples in a minibatch of one replica. A step of sync is of those of all replicas together; "
        "sandblaster, whose results do not depend on it, computes so many at a time (some hundreds are "
        "fastest). auto: 16 to 128, more for more rows, fewer for more replicas.",
        unit="examples",
        minimum=1,
        auto=True,
    )
    epochs: float | None = key(
        40.0,
        "Stop after so many passes over the training set, all replicas together; the default is that of "
        "downpour.",
        unit="epochs",
        above=0,
    )
    steps: int | None = key(
        None,
        "Stop after so many minibatches, all replicas together. A step of sync takes one of each replica, "
        "and the last step what is left.",
        unit="minibatches",
        minimum=1,
        example=1000,
    )
    max_time: float | None = key(
        None,
        "Stop after so much training time in one job, with a checkpoint to go on from.",
        unit="s",
        above=0,
        duration=True,
        example="02:00:00",
    )
    seed: int = key(1, "Seed of the first parameters and of the order of the examples.", minimum=0)
    initial: str | None = key(
        None,
        "Trained model whose parameters are the first ones, tensor by tensor of the same name: a model.h5, a "
        ".safetensors file of dbmpi.export, a checkpoint, or the directory of a run. A relative path starts "
        "at the directory that the program is started in. A run that goes on has its checkpoint instead.",
        example="runs/a/model.h5",
    )
    initial_skip: str | None = key(
        None,
        "What is not taken from it but begins anew: names of tensors or of their layers, separated by "
        "spaces; a last layer for other classes, say.",
        example="layers.3",
    )
    portion: int | Auto = key(
        "auto", "Minibatches that a replica is given at a time.", unit="minibatches", minimum=1
    )
    divergence_factor: float = key(
        10.0,
        "The run has diverged, and ends with status 3, when its training or test loss stays above this many "
        "times the loss of its first parameters (or that of chance, if it is larger).",
        above=1,
    )
    patience: int | None = key(
        None,
        "Stop when so many evaluations, one after another, have brought no better result. The model is then "
        "the best: a checkpoint is written whenever a result is better than all before.",
        unit="evaluations",
        minimum=1,
        example=5,
    )
    average: float | None = key(
        None,
        "Evaluate an average of the parameters: evaluations, target, patience, the best checkpoint and "
        "model.h5 are of it, while training goes on from the parameters themselves. With each update of the "
        "shards what came before counts so much less: 0.999 averages some 1,000 updates, and in a shorter "
        "run the last tenth (docs/data.md).",
        unit="share kept by an update",
        above=0,
        below=1,
        example=0.999,
    )
    class_weights: Literal["balanced"] | tuple[float, ...] | None = key(
        None,
        "What the loss of an example is multiplied by in training, by its class: as many numbers as the last "
        "layer has units. balanced: the number of rows / (classes x rows of the class).",
        minimum=0,
        example="balanced",
    )
    flip: bool = key(False, "Mirror half of the training images, left to right, anew in each epoch.")
    shift: int = key(
        0,
        "Move each training image by up to so many rows and columns either way, anew in each epoch; what "
        "comes in repeats the edge.",
        unit="pixels",
        minimum=0,
        maximum=10_000,
    )
    target: Target = key(Target(), "Results that end the run; evaluations look for them.")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Loss and accuracy during the run, on validation rows, or test where are none; always at its end."""

    every_epochs: float = key(1.0, "Evaluate every so many epochs; 0: off.", unit="epochs", minimum=0)
    every_s: float = key(0.0, "Evaluate every so many seconds; 0: off.", unit="s", minimum=0)
    minibatch: int = key(250, "Examples evaluated at a time.", unit="examples", minimum=1)
    top: int = key(
        5,
        "Of the softmax over more classes: the share of examples whose class is among so many likeliest; 0: "
        "it is not counted.",
        unit="classes",
        minimum=0,
    )

    @property
    def enabled(self) -> bool:
        """Whether there are any during the run."""
        return bool(self.every_epochs or self.every_s)


@dataclass(frozen=True, kw_only=True)
class Config:
    """The whole configuration of a run; every section has the name of its field."""

    data: Data = Data()
    model: Model = Model()
    cluster: Cluster = Cluster()
    train: Train = Train()
    downpour: Downpour = Downpour()
    sandblaster: Sandblaster = Sandblaster()
    evaluation: Evaluation = Evaluation()
    checkpoint: Checkpoint = Checkpoint()
    output: Output = Output()

    @property
    def batch(self) -> bool:
        """Whether the algorithm is a batch method."""
        return self.train.algorithm == "sandblaster"

    @property
    def sync(self) -> bool:
        """Whether all replicas learn in rounds, with one step of the learning rule for each."""
        return self.train.algorithm == "sync"

    @property
    def uses_downpour(self) -> bool:
        """Whether shards apply a learning rule at all: a batch method may have a warmstart."""
        return not self.batch or self.sandblaster.warmstart_examples > 0
