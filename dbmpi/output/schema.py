"""The records of a run: every kind, every field. docs/records.md is written from it. Pure.

A type is as JSON has it: `int`, `float`, `bool`, `str`, `any`; `[T]` is a list of T, `{T}` a table of T by
names, and `T?` may be null. In a name `<k>` stands for a number, and `<split>` for `test` or `validation`.
"""

import re
from dataclasses import dataclass

VERSION = 2  # 1: version 0.1.0, whose records do not say so
ABOUT = ("death", "resume", "silence", "signal", "checkpoint", "output", "learning", "other")
PLACEHOLDERS = {"<k>": r"\d+", "<split>": "(test|validation)"}


@dataclass(frozen=True)
class Field:
    """A field of a record.

    Parameters
    ----------
    name, type, unit, meaning
        See the module; without a unit it is a pure number, or no number.
    since
        The first version of the schema that has it.
    when
        Where it is there; nothing: always, in a record of that version.
    """

    name: str
    type: str
    unit: str
    meaning: str
    since: int = 1
    when: str = ""

    def matches(self, name: str) -> bool:
        """Return whether a stored field is this one."""
        pattern = re.escape(self.name)
        for placeholder, stands_for in PLACEHOLDERS.items():
            pattern = pattern.replace(re.escape(placeholder), stands_for)
        return re.fullmatch(pattern, name) is not None


@dataclass(frozen=True)
class Kind:
    """A kind of records: when one is written, and what it holds besides what all do."""

    doc: str
    fields: tuple[Field, ...]


EVERY = (
    Field("kind", "str", "", "What kind of record it is"),
    Field("time_s", "float", "s",
          "Since training began; it goes on over the jobs of a run, without the time between them"),
    Field("step", "int", "minibatches", "Reported so far, all replicas together"),
    Field("examples", "int", "examples", "Reported so far, all replicas together"),
)  # fmt: skip
_ACCURACY = (
    "Share of rows whose class is right, or with several labels of answers that are; null for float targets"
)
_OF_CLASSES, _OF_LABELS, _OF_TARGETS = "labels of classes", "several labels of a row", "float targets"
MEASURED = (
    Field("balanced_accuracy", "float", "",
          "Mean recall of the classes that have rows", when=_OF_CLASSES),
    Field("top<k>_accuracy", "float", "",
          "Share of rows whose class is among the k likeliest (`evaluation.top`)",
          when="softmax of more than k classes"),
    Field("recall", "[float?]", "",
          "Of each class; null of one without rows", when="at most 1000 classes"),
    Field("macro_f1", "float", "", "Mean F1 of the labels", when=_OF_LABELS),
    Field("micro_f1", "float", "", "F1 of all answers together", when=_OF_LABELS),
    Field("r2", "float?", "",
          "Mean R2 of the targets that are not constant; null where all are", when=_OF_TARGETS),
    Field("mean_absolute_error", "float", "as the file", "Mean over rows and targets", when=_OF_TARGETS),
    Field("mean_squared_error", "float", "as the file, squared",
          "Mean over rows and targets", when=_OF_TARGETS),
)  # fmt: skip
_CORE_SHARE = (
    "CPU seconds of the main threads over the seconds in which they did not wait: below 1 they had no "
    "core for a part of them, or with several threads waited for the others; null where it was not "
    "measured: it is in every fourth portion"
)
_SEEN_BY_CLIENTS = (
    "updates that a piece of the parameters has had between the fetch that a pushed gradient was "
    "computed from and its push, as the clients saw them, over the pushes"
)
_REVISING = "a rule that revises"

KINDS: dict[str, Kind] = {
    "job": Kind(
        "When training begins in a job of the run, and when the job ends in order.",
        (
            Field("began", "bool", "", "true: it begins; false: it ends"),
            Field("partitions", "int", "ranks", "That compute, of all replicas"),
            Field("wall_s", "float", "s", "Since the launch of the job: the start of rank 0"),
            Field("at", "str", "UTC, ISO 8601", "This moment, by the clock of the coordinator's host", 2),
            Field("schema", "int", "", "Version of the records that follow; absent: 1", 2, "began"),
            Field("replicas", "int", "replicas", "That learn", 2, "began"),
        ),
    ),
    "train": Kind(
        "What was learned since the last one: when `output.every_s` is over, or `output.every_examples` "
        "were learned from, and at the end of training.",
        (
            Field("loss", "float?", "", "Mean over the examples; null where it is not finite"),
            Field("accuracy", "float?", "", _ACCURACY),
            Field("examples_per_s", "float", "examples/s", "All replicas together"),
            Field("epoch", "float", "epochs",
                  "Examples learned from so far over those of the training set"),
            Field("interval_s", "float", "s", "Since the last one, or since the job began to train", 2),
            Field("wait_share", "float", "",
                  "Share of the partitions' time, from orders to reports, in which they waited"),
            Field("waits", "{float}", "", "Share of the partitions' time in which they waited, by cause"),
            Field("core_share", "float?", "", _CORE_SHARE, 2),
            Field("learning_rate", "float?", "",
                  "As the schedule has it, in the last portion; null where no rule learns", 2),
            Field("gradient_norm", "float?", "",
                  "Norm of the whole model's gradient of a minibatch, the mean of those in a push: root "
                  "mean square of the first push of each portion; null where none was measured, or one "
                  "was not finite", 2),
            Field("staleness_mean", "float?", "updates",
                  f"Mean {_SEEN_BY_CLIENTS}; null where none was pushed", 2),
            Field("staleness_max", "int?", "updates", f"Most {_SEEN_BY_CLIENTS}", 2),
        ),
    ),
    "replicas": Kind(
        "What each replica has done since the last one, all its partitions together: every "
        "`output.shard_every_s`, and at the end of training. Each list has an entry a replica, null for "
        "one that is left out, as it has died or was silent.",
        (
            Field("interval_s", "float", "s", "Since the last one, or since the job began to train", 2),
            Field("learned", "[int?]", "examples", "Learned from", 2),
            Field("minibatches", "[int?]", "minibatches", "Learned from", 2),
            Field("busy_s", "[float?]", "s", "From orders to reports, summed over partitions", 2),
            Field("computed_s", "[float?]", "s", "Of `busy_s`, what was no waiting", 2),
            Field("waits_s", "{[float?]}", "s", "Waited, by cause, summed over partitions", 2),
            Field("staleness_mean", "[float?]", "updates",
                  f"Mean {_SEEN_BY_CLIENTS}; null where it pushed nothing", 2),
            Field("staleness_max", "[int?]", "updates",
                  f"Most {_SEEN_BY_CLIENTS}; null where it pushed nothing", 2),
            Field("pushes", "[int?]", "pushes", "Begun, summed over partitions", 2),
            Field("refused", "[int?]", "pieces", "Whose push a shard refused", 2),
            Field("core_share", "[float?]", "", _CORE_SHARE, 2),
        ),
    ),
    "eval": Kind(
        "A result on the held-out rows.",
        (
            Field("loss", "float?", "",
                  "Mean over the rows, without penalty; null where it is not finite"),
            Field("accuracy", "float?", "", _ACCURACY),
            Field("rows", "int", "rows", "Evaluated"),
            Field("final", "bool", "",
                  "Whether it is of the last parameters, or of the model that leaves"),
            Field("split", "str", "", "`validation` or `test`", when="there are validation rows"),
            *MEASURED,
            Field("confusion", "[[int]]", "rows",
                  "A row for each true class, a column for each that was said",
                  2, "final, at most 100 classes"),
        ),
    ),
    "shard": Kind(
        "What a shard has done, from the start of the job: every `output.shard_every_s`, and at its "
        "end.",
        (
            Field("shard", "int", "", "Its number"),
            Field("updates", "int", "updates", "Of its pieces, summed"),
            Field("fetches", "int", "fetches", "Of its pieces, summed"),
            Field("refused", "{int}", "pushes", "Refused, by reason: `stale`, `not_finite`, `too_large`"),
            Field("staleness_mean", "float", "updates", "Mean over the pushes that were applied"),
            Field("staleness_max", "int", "updates", "Most of them"),
            Field("staleness_histogram", "[int]", "pushes",
                  "Of staleness 0, 1, ..., 254, and 255 or more; without zeros at its end",
                  when="the last of a job"),
            Field("revised_share", "float", "",
                  "How much of the steps was taken back later", when=_REVISING),
            Field("versions_unknown", "int", "updates",
                  "For which nothing could be revised", when=_REVISING),
            Field("clients", "int", "ranks", "That it has heard from"),
            Field("busy_s", "float", "s", "In which it served"),
            Field("interval_busy", "float?", "",
                  "Share of the time since its last record in which it served; null of no time; 0 in a "
                  "run of one process", 2),
            Field("bytes_in", "int", "bytes", "Received or read in place, without headers"),
            Field("bytes_out", "int", "bytes", "Sent or written in place, without headers"),
        ),
    ),
    "event": Kind(
        "Something that happened, as the user was told.",
        (
            Field("text", "str", "", "What was told"),
            Field("about", "str", "",
                  "One of `death`, `resume`, `silence`, `signal`, `checkpoint`, `output`, `learning`, "
                  "`other`", 2),
            Field("replica", "int", "", "Its number", 2, "the death of a replica"),
            Field("shard", "int", "", "Its number", when="the death of a shard"),
            Field("heir", "int", "", "The shard that goes on for it", when="the death of a shard"),
            Field("mirror_age_s", "float", "s",
                  "How old the parameters are that it goes on with", when="the death of a shard"),
            Field("updates_lost", "int", "updates",
                  "Of the model, about", when="the death of a shard, but for Sandblaster"),
        ),
    ),
    "checkpoint": Kind(
        "A checkpoint is on disk.",
        (
            Field("number", "int", "", "Its number"),
            Field("bytes", "int", "bytes", "Of its files"),
            Field("stall_s", "float", "s", "In which training stood still"),
            Field("write_s", "float", "s", "In the background"),
            Field("score", "float?", "",
                  "Accuracy, or minus the loss, of its parameters; null where they were not evaluated"),
        ),
    ),
    "iteration": Kind(
        "An iteration of Sandblaster.",
        (
            Field("iteration", "int", "", "Its number; 0: the start"),
            Field("loss", "float?", "",
                  "Of the batch, with the penalty, at its end; null where it is not finite"),
            Field("gradient_norm", "float?", "", "Of the batch, at its end; null where it is not finite"),
            Field("step_length", "float", "", "Along the direction"),
            Field("evaluations", "int", "passes", "Over the batch"),
            Field("restarted", "bool", "",
                  "Whether it went along the negative gradient for want of a better direction"),
            Field("line_search", "[[float?]]", "",
                  "Step length and loss of each point tried, in order; null where not finite", 2),
            Field("examples_per_s", "float", "examples/s", "In passes"),
            Field("passes_s", "float", "s", "In passes, since the last one"),
            Field("commands_s", "float", "s", "In vector operations"),
            Field("bookkeeping_s", "float", "s", "Of the coordinator's own"),
            Field("waited_s", "float", "s",
                  "Of `passes_s`, in which a replica, on average, computed nothing"),
        ),
    ),
    "replica": Kind(
        "What a replica has done for Sandblaster, at the end.",
        (
            Field("replica", "int", "", "Its number"),
            Field("done", "int", "portions", "Computed to their end"),
            Field("won", "int", "portions", "Of these, those that counted"),
            Field("lost", "int", "portions", "That another replica was first with"),
        ),
    ),
}  # fmt: skip

_SPLIT = "there are validation rows, or <split> is test"
_BATCH = "Sandblaster"
SUMMARY = (
    Field("schema", "int", "", "Version of the schema; absent: 1", 2),
    Field("stop_reason", "str", "", "What ended the job"),
    Field("status", "int", "", "Exit status of the program"),
    Field("first_loss", "float?", "", "Training loss of the first parameters"),
    Field("chance_loss", "float?", "",
          "What one and the same answer for every example costs; null where unknown"),
    Field("learned", "bool?", "", "Whether the last epoch was better than that; null where unknown"),
    Field("diverged_by", "str?", "", "What showed that the run has diverged"),
    Field("<split>_loss", "float?", "",
          "Of the last parameters, or of the model that leaves", when=_SPLIT),
    Field("<split>_accuracy", "float?", "", _ACCURACY, when=_SPLIT),
    *(Field(f"<split>_{one.name}", *list(vars(one).values())[1:]) for one in MEASURED),
    Field("confusion", "[[int]]", "rows",
          "As in `eval`: of the model on the test set, or of the last parameters on the held-out rows",
          2, "at most 100 classes"),
    Field("examples_per_s", "float", "examples/s", "Over `train_s`"),
    Field("wall_s", "float", "s", "From launch to end, of all jobs of the run"),
    Field("train_s", "float", "s", "From the start to the end of training, of all jobs"),
    Field("steps", "int", "minibatches", "Learned from"),
    Field("examples", "int", "examples", "Learned from"),
    Field("boundary_bytes", "int", "bytes", "Sent between partitions in training"),
    Field("boundary_messages", "int", "messages", "Sent between partitions in training"),
    Field("busy_s", "float", "s", "From orders to reports, summed over partitions"),
    Field("waits_s", "{float}", "s", "Waited, by cause, summed over partitions"),
    Field("computed_s", "float", "s", "Of `busy_s`, what was no waiting", 2),
    Field("core_share", "float?", "", _CORE_SHARE, 2),
    Field("goodput", "float?", "", "`applied_s` over `available_s`"),
    Field("applied_s", "float", "s", "In which partitions computed gradients that were applied"),
    Field("available_s", "float", "s", "Of all partitions, from launch to end, of all jobs"),
    Field("rows_again", "int", "examples", "Handed out a second time in an epoch, after a death"),
    Field("rows_lost", "int", "examples", "Whose gradient was lost with a replica"),
    Field("updates_lost", "int", "updates", "That shards have taken with them, about"),
    Field("examples_dropped", "int", "examples", "Learned from too late for their round"),
    Field("updates", "int", "updates", "Of the model: one of each of its pieces"),
    Field("staleness_mean", "float", "updates", "Of the pushes that were applied, as the shards saw it"),
    Field("staleness_max", "int", "updates", "Of the pushes that were applied, as the shards saw it"),
    Field("refused", "{int}", "pushes", "By reason"),
    Field("revised_share", "float", "", "How much of the steps was taken back later", when=_REVISING),
    Field("versions_unknown", "int", "updates", "For which nothing could be revised", when=_REVISING),
    Field("replicas", "{any}", "",
          "`learned`, `busy_s`, `computed_s`, `waits_s`, `staleness_mean`, `staleness_max`: lists as in "
          "`replicas` records, of the whole run: the replica of that number in each job", 2),
    Field("iterations", "int", "iterations", "Made", when=_BATCH),
    Field("passes", "int", "passes", "Over the batch", when=_BATCH),
    Field("passes_s", "float", "s", "In passes", when=_BATCH),
    Field("waited_s", "float", "s",
          "Of `passes_s`, in which a replica, on average, computed nothing", when=_BATCH),
    Field("commands_s", "float", "s", "In vector operations", when=_BATCH),
    Field("copies", "int", "portions", "Given to a second replica", when=_BATCH),
    Field("copies_used", "int", "portions", "Of these, those in which it was first", when=_BATCH),
    Field("unshown", "[str]", "", "What of the output could not be shown, and why"),
)  # fmt: skip

RUN = (
    Field("source", "str", "", "The file that the run was begun from"),
    Field("launched", "str", "UTC, ISO 8601",
          "When this job was: the start of rank 0, by the clock of its host", 2),
    Field("generation", "int", "", "Of the owner of the run directory: the job's number there"),
    Field("equation", "str", "", "Ranks by roles"),
    Field("seed", "int", "", "`train.seed`"),
    Field("resumed_from", "int?", "", "Number of the checkpoint that this job goes on from"),
    Field("mpi", "str", "", "What the MPI library calls itself; `none` in one process"),
    Field("versions", "{str}", "", "Of this program and its libraries"),
    Field("ranks", "[any]", "",
          "Of each rank `rank`, `role`, `host`, `threads`; since 2 `node`, its node's number, and "
          "`cores`, those that it may use: `0-3,8`"),
    Field("nodes", "[any]", "",
          "Of each node `host`, `cores`, the number that its ranks may use together, and `ranks`", 2),
    Field("crowded", "bool", "", "Whether a node has more ranks than cores", 2),
    Field("traffic", "{any}", "bytes",
          "`boundary_bytes_per_example`, what partitions of a replica send one another for an example "
          "that is learned from, `[from][to]`; `shared_bytes_per_minibatch`, what besides for a "
          "minibatch; `shard_bytes`, the parameters that each partition has on each shard, "
          "`[partition][shard]`", 2),
    Field("data", "{any}", "", "What inputs and outputs of the model are, for whoever uses it"),
)  # fmt: skip


def fields_of(kind: str) -> tuple[Field, ...]:
    """Return all fields of a kind of records."""
    return (*EVERY, *KINDS[kind].fields)
