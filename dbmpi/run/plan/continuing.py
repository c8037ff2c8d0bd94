"""What a run goes on from, and whether it has anything left to do. On rank 0, and for --dry-run."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from dbmpi.checkpoint import manifest, pruning, resume
from dbmpi.checkpoint.directory import checkpoint_numbers
from dbmpi.config.sections import Config
from dbmpi.errors import RunFinished, UserError
from dbmpi.output import run_directory
from dbmpi.output.run_directory import FINISHED, MODEL, SUMMARY
from dbmpi.ownership.claim import holder
from dbmpi.run.plan import naming
from dbmpi.run.plan.choices import carried_over, told
from dbmpi.run.start import cli

if TYPE_CHECKING:
    from dbmpi.checkpoint.manifest import Checkpoint
    from dbmpi.data.describe import Description

ModelOf: TypeAlias = "Callable[[Checkpoint], dict[str, Any]]"

# What ends a batch method, beside the limits of `train`; the rest of its section says how it computes.
ENDS_BATCH = (
    "method",
    "history",
    "sample",
    "warmstart_examples",
    "gradient_tolerance",
    "decrease_tolerance",
)


def as_before(config: Config, saved: "Checkpoint | None") -> Config:
    """Return the configuration with what the run of a checkpoint had chosen."""
    if saved is None or told(config, config) == "":
        return config
    return carried_over(config, _configuration(saved))


def _configuration(saved: "Checkpoint") -> Config:
    from dbmpi.config.load import loads

    name = f"the configuration in checkpoint {saved.path}"
    return loads(saved.manifest.configuration.encode(), name=name)


def ended(run_dir: Path) -> str:
    """Return why a run came to its end before; nothing where it did not."""
    with suppress(OSError, UnicodeDecodeError):
        return (run_dir / FINISHED).read_text("utf-8").strip()
    return ""


def model_as_before(config: Config, data: "Description") -> ModelOf:
    """Return which model a run has that goes on from a checkpoint: what is "auto" is as it was there."""
    from dbmpi.layout.network import build
    from dbmpi.run.plan.tasks import with_task

    def model(saved: "Checkpoint") -> dict[str, Any]:
        before = with_task(as_before(config, saved), data)
        network = build(before, data.input_shape)
        return manifest.model_of(network, before.model.dtype, data.train_rows, data.made)

    return model


def check_unfinished(run_dir: Path, config: Config, model: ModelOf) -> None:
    """See that a run is asked for something that it has not done. Local; it only reads.

    Parameters
    ----------
    model
        `manifest.model_of` this run, if it went on from a checkpoint.

    Raises
    ------
    RunFinished
        It has come to its end, all that it leaves is there, and no limit is higher than it was.
    UserError
        Its checkpoints cannot be listed.
    """
    reason = ended(run_dir)
    more = _more(reason, config)
    if not more or not all((run_dir / name).exists() for name in (MODEL, SUMMARY)):
        return
    newest = max(checkpoint_numbers(run_dir), default=0)
    saved = pruning.looks_whole(run_dir, newest) if newest else None
    if saved is None or resume.misfit(saved, model(saved)):
        return
    if _asks_no_more(config, saved):
        raise RunFinished(
            f"the run in {run_dir} has come to its end ({reason}), and nothing more is asked for. To train "
            f"on {more}; to train anew give another --run-dir"
        )


def _more(reason: str, config: Config) -> str:
    """Say how a run that ended so is made to go on; nothing for an end that is none of the limits."""
    train, batch = config.train, config.sandblaster
    limits = {"epochs": train.epochs, "steps": train.steps, "iterations": batch.iterations}
    if reason in limits:
        key, limit = f"{'sandblaster' if reason == 'iterations' else 'train'}.{reason}", limits[reason]
        return f"raise {key}, which is {limit:g} (--set {key}={2 * limit:g})" if limit is not None else ""
    lower = "lower sandblaster.gradient_tolerance and sandblaster.decrease_tolerance"
    return {"target": "ask for more by train.target", "converged": lower}.get(reason, "")


def _asks_no_more(now: Config, saved: "Checkpoint") -> bool:
    """Return whether a configuration ends where that of a checkpoint did, or earlier by the same limits."""
    try:
        before = _configuration(saved)
    except UserError:  # of another version
        return False
    if now.train.algorithm != before.train.algorithm or now.train.target != before.train.target:
        return False
    names = ENDS_BATCH if now.batch else ()
    if any(getattr(now.sandblaster, name) != getattr(before.sandblaster, name) for name in names):
        return False
    pairs = [(now.train.epochs, before.train.epochs), (now.train.steps, before.train.steps)]
    if now.batch:
        pairs.append((now.sandblaster.iterations, before.sandblaster.iterations))
    return all(
        limit == had or (limit is not None and had is not None and limit < had) for limit, had in pairs
    )


def foresee(
    arguments: cli.Arguments, config: Config, data: "Description"
) -> "tuple[list[str], Checkpoint | None]":
    """Return what a run would find in its directory, in lines, and what it would go on from. It only reads.

    Raises
    ------
    UserError
        As the run would, but for a directory that another run has.
    """
    path = place(arguments, config)
    if path is None:
        return [], None
    run_directory.check_writable(path)
    if path.is_dir():
        run_directory.check_foreign(path, resume.looks_like_a_run(path))
    model = model_as_before(config, data)
    try:
        check_unfinished(path, config, model)
    except RunFinished as finished:
        return [f"{finished}"], None
    owner = holder(path)
    lines = [f"belongs to another run: {owner}"] if owner is not None else []
    saved, refused = resume.find(path, model, arguments.resume)
    lines += [f"warning: {text}" for text in refused]
    if saved is None:
        lines.append("begins anew")
    else:
        state = saved.manifest.state
        lines.append(f"goes on from checkpoint {saved.manifest.number}, after {state.examples:,} examples")
    return [f"run directory {path}: {line}" for line in lines], saved


def place(arguments: cli.Arguments, config: Config) -> Path | None:
    """Return the directory that a command line names, or finds; None where it wants a new one.

    Raises
    ------
    UserError
        There is none to go on with.
    """
    if arguments.run_dir is not None:
        return naming.absolute(arguments.run_dir)
    if not arguments.resume:
        return None
    name, mine = naming.run_name(arguments.config, config.data.path), (None, naming.source(arguments, config))
    found = resume.newest(naming.RUNS, name, lambda path: run_directory.source_of(path) in mine)
    return naming.absolute(found)
