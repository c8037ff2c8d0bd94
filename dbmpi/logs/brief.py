"""A run in five lines."""

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from dbmpi.checkpoint.directory import MANIFEST, checkpoint_directory, checkpoint_numbers
from dbmpi.data.portions import examples_in
from dbmpi.errors import UserError
from dbmpi.logs.records import Fields, Records, number, whole
from dbmpi.logs.regular import regular
from dbmpi.logs.run import RunLog
from dbmpi.logs.state import State, ago
from dbmpi.logs.waits import wait_shares
from dbmpi.output.view import ProgressLimits, View, duration, parts
from dbmpi.text import plain, several

NAMES = "state", "roles", "progress", "health", "last"
RATE_S = 1.0  # over which examples a second are told
EVENTS = 3  # in the last line, the newest
MOST_ROWS = 1e15  # of a training set; more is told by no run
LEAST_SHARE = 0.005  # of waits that are told
LONGEST, LONGEST_LINE = 160, 2000  # characters of an event, of a line


def lines(run: RunLog, state: State, alarm: str = "") -> list[str]:
    """Return five lines: its state, its roles, its progress, what holds it up, and what it has left last.

    An `alarm` comes before what holds it up.
    """
    held_up = f"{alarm} {health(run)}".strip()
    texts = state.text, roles(run), progress(run, state.runs), held_up, last(run)
    return [f"{name:9} {plain(text, LONGEST_LINE)}" for name, text in zip(NAMES, texts, strict=True)]


def roles(run: RunLog) -> str:
    """Return who does what, where, and by which algorithm."""
    ranks = run.described.get("ranks")
    listed = ranks if isinstance(ranks, list) else []
    hosts = {str(rank.get("host")) for rank in listed if isinstance(rank, dict)}
    said = [str(run.described.get("equation") or "not known yet")]
    said += [f"on {several(len(hosts), 'host')}"] if hosts else []
    said += [run.config.train.algorithm] if run.config is not None else []
    return ", ".join(said)


def progress(run: RunLog, runs: bool) -> str:
    """Return how far it is."""
    newest = _newest(run, "iteration", "train", "eval")
    if newest is None:
        return "nothing is recorded yet"
    train, evaluated = _newest(run, "train") or {}, _newest(run, "eval") or {}
    moment = _newest(run, "iteration") or train
    view = View(
        time_s=number(newest["time_s"]),
        step=_count(newest.get("step")),
        examples=_count(newest.get("examples")),
        loss=number(moment.get("loss")),
        accuracy=number(moment.get("accuracy")),
        test_loss=number(evaluated.get("loss")),
        test_accuracy=number(evaluated.get("accuracy")),
        examples_per_s=number(
            run.result.get("examples_per_s"), _rate(run.records("iteration") or run.records("train"))
        ),
        iteration=_count(moment.get("iteration")),
        held_out=str(evaluated.get("split", "test")),
        since_s=run.jobs[-1].first_s if run.jobs[-1].began else 0.0,
    )
    share, *words = parts(view, _limits(run, train))
    left = [words.pop()] if words[-1].endswith(" left") else []
    said = [f"{share.strip()}", f"{view.examples:,} examples"]
    if math.isfinite(rows := _rows(train)):
        said.append(f"epoch {view.examples / rows:.4g}")
    known = [word for word in words if "nan" not in word]
    return ", ".join([*said, *known, *(left if runs else [f"after {duration(view.time_s)} of training"])])


def _count(value: object) -> int:
    """Return a count of a record; 0 where it is none."""
    count = number(value)
    return int(count) if math.isfinite(count) else 0


def _rate(learned: Records) -> float:
    """Return examples a second over the last `RATE_S` of a job: a single record may be of a moment."""
    if not len(learned):
        return math.nan
    with np.errstate(all="ignore"):  # records may have any numbers
        rates, interval_s, time_s = (learned.column(f) for f in ("examples_per_s", "interval_s", "time_s"))
        last = (learned.jobs == learned.jobs[-1]) & (time_s > time_s[-1] - RATE_S) & (interval_s > 0)
        mean = float((rates * interval_s)[last].sum() / interval_s[last].sum())
    return mean if math.isfinite(mean) else float(rates[-1])  # as of version 1, or of iterations


def _limits(run: RunLog, train: Fields) -> ProgressLimits:
    """Return how far the run may go, as far as its configuration and its records tell."""
    if run.config is None:
        return ProgressLimits(None, None, None)
    limits, batch, examples = run.config.train, run.config.batch, None
    if limits.epochs is not None and math.isfinite(rows := _rows(train)):
        examples = examples_in(limits.epochs, round(rows))
    iterations = run.config.sandblaster.iterations if batch else None
    return ProgressLimits(None if batch else examples, limits.steps, limits.max_time, iterations)


def _rows(train: Fields) -> float:
    """Return how many examples an epoch has; not a number where a record does not tell."""
    rows = number(train.get("examples")) / max(number(train.get("epoch"), 0.0), 1e-9)
    return rows if 1 <= rows < MOST_ROWS else math.nan


def health(run: RunLog) -> str:
    """Return the staleness of pushes, and what partitions wait for: in all, or now while it goes on."""
    train = _newest(run, "train") or {}
    of = run.result if number(run.result.get("updates"), 0.0) > 0 else train
    mean, most = number(of.get("staleness_mean")), number(of.get("staleness_max"))
    if math.isnan(mean):
        mean, most = _staleness_of(run.records("shard"))
    said = [] if math.isnan(mean) else [f"staleness {mean:.1f}, at most {most:.0f}"]
    shares = wait_shares(run.result) or _shares_now(train)
    told = [f"{name} {share:.0%}" for name, share in _largest(shares) if share >= LEAST_SHARE]
    if shares:
        total = sum(shares.values())
        said.append(f"partitions wait {total:.0%} of their time" + (f": {', '.join(told)}" if told else ""))
    return "; ".join(said) or "nothing is recorded yet"


def _shares_now(train: Fields) -> dict[str, float]:
    """Return the shares of the partitions' time in which they waited, by cause, of a train record."""
    waits = train.get("waits")
    return {name: number(share, 0.0) for name, share in waits.items()} if isinstance(waits, dict) else {}


def _staleness_of(shards: Records) -> tuple[float, float]:
    """Return the mean and the largest staleness that shards have seen, by the last record of each."""
    newest = {whole(row.get("shard")): row for row in shards.rows}.values()
    updates = [number(row.get("updates"), 0.0) for row in newest]
    if not sum(updates):
        return math.nan, math.nan
    means, most = ([number(row.get(f"staleness_{of}"), 0.0) for row in newest] for of in ("mean", "max"))
    return sum(n * mean for n, mean in zip(updates, means, strict=True)) / sum(updates), max(most)


def _largest(shares: dict[str, float]) -> list[tuple[str, float]]:
    by_share: Callable[[tuple[str, float]], float] = lambda item: -item[1]  # noqa: E731
    return sorted(shares.items(), key=by_share)


def last(run: RunLog) -> str:
    """Return the last checkpoint with its age, and the last events."""
    events = [_event(row) for row in run.records("event").rows[-EVENTS:]]
    return "; ".join([_checkpoint(run.path), *reversed(events)])


def _event(row: Fields) -> str:
    text = str(row.get("text", ""))
    short = text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
    return f"at {duration(number(row['time_s']))} {short}"


def _checkpoint(path: Path) -> str:
    """Return which checkpoint is the last, and how old it is."""
    try:
        newest = max(checkpoint_numbers(path), default=0)
    except UserError as error:
        return str(error)
    if not newest:
        return "no checkpoint yet"
    taken = _taken(checkpoint_directory(path, newest) / MANIFEST)
    return f"checkpoint {newest}" + ("" if taken is None else f", {ago(time.time() - taken)}")


def _taken(manifest: Path) -> float | None:
    """Return when a checkpoint was taken, in seconds since the epoch; None where that cannot be read."""
    readable = suppress(OSError, ValueError, RecursionError, AttributeError, TypeError, OverflowError)
    with readable, regular(manifest) as file:
        content: Any = json.loads(file.read())
        at = datetime.fromisoformat(content.get("time"))
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    return None


def _newest(run: RunLog, *kinds: str) -> Fields | None:
    """Return the newest record of some kinds; None where there is none."""
    found: Sequence[Fields] = [run.records(kind).rows[-1] for kind in kinds if len(run.records(kind))]
    return max(found, key=lambda row: number(row["time_s"], 0.0), default=None)
