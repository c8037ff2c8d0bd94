"""One shard of the parameter server: its slice of the parameters, the rule's state, the guards.

Pure state, without MPI; `server.service` serves it. Shards know nothing of one another, but for mirrors, and
apply each push to their current value (Dean et al. 2012, section 4.1).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dbmpi.arrays import Array
from dbmpi.checkpoint.vector_names import PARAMETER_VECTOR, UPDATES, numbered, numbered_vector, rule_vector
from dbmpi.comm.protocol import HISTOGRAM, SHARD_REPORT, UNKNOWN, Op, Status
from dbmpi.config.algorithms import Downpour
from dbmpi.errors import ProtocolError
from dbmpi.layout.sharding import Piece
from dbmpi.server.held import Held
from dbmpi.server.rounds import Mean
from dbmpi.server.rules import Rule, Since
from kernels.parameters import rules

if TYPE_CHECKING:
    from dbmpi.server.slices import Slices

REFUSALS = {Status.STALE: "stale", Status.NOT_FINITE: "not_finite", Status.TOO_LARGE: "too_large"}


@dataclass
class ServiceCounts:
    """What a shard counts of its service."""

    fetches: int = 0
    refused: dict[Status, int] = field(default_factory=lambda: dict.fromkeys(REFUSALS, 0))
    staleness_sum: int = 0
    staleness_max: int = 0
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(HISTOGRAM, np.int64))
    unknown: int = 0
    revision: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))  # as `rules.Since.sums`


class Shard:
    """The pieces of one shard.

    Parameters
    ----------
    index
        Shard index.
    values
        The first value of each piece that it owns, by piece; the shard takes the arrays over.
    rule, limits
        The learning rule, and the section that has `max_staleness` and `max_gradient_norm`.
    slices
        The vectors of a batch method, whose parameters `values` are; None where the algorithm is Downpour.

    Attributes
    ----------
    rule_vectors
        Names of the vectors that are states of the learning rule, as checkpoints and mirrors have them.
    """

    def __init__(
        self,
        index: int,
        values: Mapping[Piece, Array],
        rule: Rule,
        limits: Downpour,
        slices: "Slices | None" = None,
    ) -> None:
        self.index, self.rule, self.limits, self._slices = index, rule, limits, slices
        self.rule_vectors = tuple(map(rule_vector, rule.states))
        self.dtype = next((value.dtype for value in values.values()), np.dtype("f4"))
        self.held = {piece.index: Held(value, _first_states(rule, value)) for piece, value in values.items()}
        self.tally = ServiceCounts()
        self._before: Sequence[int] = ()  # updates of every piece of the model in the checkpoint
        self._kept: dict[int, dict[int, Array]] = {}  # number, piece: parameters to go back to
        self._gone: set[int] = set()  # clients from which nothing comes any more

    def updates_of(self, pieces: Iterable[int]) -> int:
        """Return how many updates some pieces have had in this job."""
        before = sum(self._before[piece] for piece in pieces) if self._before else 0
        return sum(self.held[piece].version for piece in pieces) - before

    def snapshot(self, numbers: Sequence[int] | None) -> dict[str, Array]:
        """Return a copy of what a checkpoint holds of this shard, by the names of `checkpoint.vector_names`.

        Parameters
        ----------
        numbers
            Vectors of the batch method to save; None to save the state of the learning rule.
        """
        pieces = list(self.held.values())
        copy = {PARAMETER_VECTOR: _joined([held.value for held in pieces], self.dtype)}
        for number in numbers or ():
            parts = [self.part(number, piece) for piece in self.held]
            copy[numbered_vector(number)] = _joined(parts, self.dtype)
        for i, name in enumerate(self.rule_vectors if numbers is None else ()):
            copy[name] = _joined([held.states[i] for held in pieces], self.dtype)
        copy[UPDATES] = np.array([held.version for held in pieces], np.int64)
        return copy

    def part(self, number: int, piece: int) -> Array:
        """Return the part of a vector of the batch method that belongs to a piece, not a copy."""
        return self._batch.part(number, piece)

    def restore(self, updates: Sequence[int]) -> None:
        """Count on from a checkpoint: how many updates each piece of the model has had."""
        for piece, held in self.held.items():
            held.count_from(updates[piece])
        self._before = tuple(updates)

    def adopt(
        self,
        pieces: Sequence[Piece],
        mirror: Mapping[str, Array],
        kept: Mapping[int, Array] | None = None,
    ) -> int:
        """Take over the pieces of another shard; return how many updates they have had in this job.

        Parameters
        ----------
        pieces
            In the order in which the other one held them.
        mirror
            A copy of it, as `snapshot` makes them; its vectors are this shard's own from now on.
        kept
            By the number of a mirror, the parameters to go `back` to.
        """
        if self._slices is not None:
            self._slices.adopt(pieces, mirror[PARAMETER_VECTOR], numbered(mirror))
        start = 0
        for piece, version in zip(pieces, mirror[UPDATES], strict=True):
            part = slice(start, start + piece.size)
            value = mirror[PARAMETER_VECTOR][part]
            if self._slices is not None:
                value = self._slices.parameters(piece.index)
            states = [self._state(mirror, name, part) for name in self.rule_vectors]
            held = self.held[piece.index] = Held(value, states)
            held.count_from(int(version))
            for number, parameters in (kept or {}).items():
                if number in self._kept:
                    self._kept[number][piece.index] = parameters[part]
            start += piece.size
        self.held = dict(sorted(self.held.items()))  # the order of a snapshot, and of the index over it
        return self.updates_of([piece.index for piece in pieces])

    def _state(self, mirror: Mapping[str, Array], name: str, part: slice) -> Array:
        """Return a state of the rule; after a warmstart there is none in a mirror, nor any need of it."""
        vector = mirror.get(name)
        if vector is None:
            return np.full_like(mirror[PARAMETER_VECTOR][part], self.rule.start)
        return vector[part]

    def keep(self, number: int, parameters: Array) -> None:
        """Keep a copy of the parameters, one piece after another, to go `back` to; the last two are kept."""
        kept: dict[int, Array] = {}
        start = 0
        for piece, held in self.held.items():
            kept[piece] = parameters[start : start + len(held.value)]
            start += len(held.value)
        self._kept = {last: self._kept[last] for last in list(self._kept)[-1:]} | {number: kept}

    @property
    def kept(self) -> list[int]:
        """The mirrors to whose parameters all pieces can go `back`."""
        return [number for number, parts in self._kept.items() if parts.keys() >= self.held.keys()]

    def back(self, number: int) -> None:
        """Go back to parameters that were kept; later ones are forgotten.

        Raises
        ------
        ProtocolError
            They are not kept any more.
        """
        if number not in self.kept:
            raise ProtocolError(f"shard {self.index} has kept the iterates {self.kept}, not {number}")
        for piece, values in self._kept[number].items():
            np.copyto(self.held[piece].value, values)
            self.held[piece].bounds = None
        self._kept = {kept: parts for kept, parts in self._kept.items() if kept <= number}

    def since(self, piece: int, client: int, op: Op, version: int, steps: int) -> Since | None:
        """Take in that a client asks for `op`; return what happened since the version that it names.

        To be called with every request for a piece, before it is done, by its fields in `REQUEST_HEADER`;
        `push` gets the result. None where the rule does not revise.
        """
        if not self.rule.revises or op & Op.ACCRUE:
            return None
        held = self.held[piece]
        old = held.versions.take(client, op, version, accrued=steps > 0)
        self.tally.unknown += bool(op & Op.PUSH) and old is None and version != held.version
        return held.since(old, version, self.tally.revision)

    def fetch(self, piece: int, client: int | None = None) -> Held:
        """Return a piece: its current value (not a copy) and version; `client` will learn from it."""
        self.tally.fetches += 1
        held = self.held[piece]
        if self.rule.revises and client is not None and client not in self._gone:
            held.versions.hold(client, held.version)
        return held

    def evaluated(self, piece: int) -> Array:
        """Return what evaluations and the model are of, not a copy: the average of a piece, or its value."""
        held = self.held[piece]
        return held.states[-1] if self.rule.averages else held.value

    def forget(self, client: int) -> None:
        """Let go of what is kept for a client: nothing comes from it any more, or nothing is to be kept."""
        self._gone.add(client)
        for held in self.held.values():
            held.versions.forget(client)

    def push(
        self,
        piece: int,
        gradient: Array,
        version: int,
        rate: float,
        out: Array | None = None,
        square: float = UNKNOWN,
        since: Since | None = None,
    ) -> Status:
        """Apply a gradient to the current value of a piece, unless a guard refuses it.

        Parameters
        ----------
        gradient : (piece.size,)
            Sum of raw gradients, computed from parameters of `version`.
        rate
            Learning rate.
        out : (piece.size,)
            Gets a copy of the new value, in the same pass, unless the gradient is refused.
        square
            Sum of squares of the gradient, if it is known.
        since
            What `since` has returned.
        """
        held = self.held[piece]
        staleness = max(0, held.version - version)  # below: the gradient is of updates that died with a shard
        status = self._take(held, gradient, staleness, rate, out, square, since)
        self.count(piece, status, staleness)
        return status

    def count(self, piece: int, status: Status, staleness: int) -> None:
        """Count a push by what became of it."""
        held = self.held[piece]
        if status is not Status.STALE:
            held.recent.note(refused=status is Status.NOT_FINITE)
        if status is not Status.OK:
            self.tally.refused[status] += 1
            return
        self.tally.staleness_sum += staleness
        self.tally.staleness_max = max(self.tally.staleness_max, staleness)
        self.tally.histogram[min(staleness, HISTOGRAM - 1)] += 1

    def judge(self, square: float) -> Status:
        """Return whether a guard refuses a gradient of a sum of squares, of what parameters ever."""
        if not isfinite(square):
            return Status.NOT_FINITE
        return Status.TOO_LARGE if 0 < self.limits.max_gradient_norm**2 < square else Status.OK

    def step(self, piece: int, mean: Mean | None, norm: float, rate: float, outs: Sequence[Array]) -> Status:
        """Make the step of a round with the mean of its gradients; nothing where there is none.

        Parameters
        ----------
        norm
            At least the largest magnitude in the mean.
        rate
            Learning rate.
        outs : sequence of (piece.size,)
            Each gets a copy of the new value, of the one there is where no step is made.
        """
        held = self.held[piece]
        if mean is None or not held.update_by_mean(self.rule, mean, norm, rate, outs):
            for out in outs:
                np.copyto(out, held.value)
            return Status.OK if mean is None else Status.NOT_FINITE
        return Status.OK

    def close(self, pieces: Iterable[int]) -> None:
        """Make the step of what is accrued of some pieces, if anything is (`downpour.average`)."""
        for piece in pieces:
            if self.held[piece].accrued.pushes:
                self.held[piece].step(self.rule, self.limits.average, None)

    def accrue(self, piece: int, gradient: Array, pass_number: int) -> Status:
        """Add to the batch gradient of a pass, unless that is over.

        Parameters
        ----------
        gradient : (piece.size,)
            A share of the gradient of the batch's mean loss.
        """
        return Status.OK if self._batch.accrue(piece, gradient, pass_number) else Status.STALE

    def operate(self, records: Array) -> NDArray[np.float64]:
        """Perform `OPERATION` records on this shard's slices; return its part of the dot products."""
        return self._batch.run(records)

    @property
    def _batch(self) -> "Slices":
        if self._slices is None:
            raise ProtocolError(f"shard {self.index} has no vectors: train.algorithm is not sandblaster")
        return self._slices

    def _take(
        self,
        held: Held,
        gradient: Array,
        staleness: int,
        rate: float,
        out: Array | None,
        square: float,
        since: Since | None,
    ) -> Status:
        """Apply a gradient unless a guard refuses it: that on its size last, for only it knows the state."""
        if 0 < self.limits.max_staleness < staleness:
            return Status.STALE
        if square == UNKNOWN:
            square = rules.sum_of_squares(gradient)
        status = self.judge(square)
        if status is not Status.OK:
            return status
        applied = self._apply(held, gradient, sqrt(square), rate, out, since)
        return Status.OK if applied else Status.NOT_FINITE

    def _apply(
        self,
        held: Held,
        gradient: Array,
        norm: float,
        rate: float,
        out: Array | None,
        since: Since | None,
    ) -> bool:
        """Make the step of a gradient, or accrue it until there are enough for one."""
        average = self.limits.average
        if average == 1:
            return held.update(self.rule, gradient, norm, rate, out, since)
        if not held.accrued.add(gradient, norm, rate):
            return False
        if held.accrued.pushes == average:
            return held.step(self.rule, average, out)
        if out is not None:
            np.copyto(out, held.value)
        return True

    def report(self) -> Array:
        """Return a `SHARD_REPORT` record, `()`, of all that was counted so far."""
        record = np.zeros((), SHARD_REPORT)
        tally = self.tally
        record["shard"], record["pieces"] = self.index, len(self.held)
        record["updates"] = self.updates_of(self.held)
        record["fetches"] = tally.fetches
        for status, name in REFUSALS.items():
            record[name] = tally.refused[status]
        # Of an update, what its pushes had on average.
        record["staleness_sum"] = round(tally.staleness_sum / self.limits.average)
        record["staleness_max"] = tally.staleness_max
        record["histogram"], record["unknown"] = tally.histogram, tally.unknown
        record["revised"], record["stepped"] = tally.revision
        worst = max(self.held.values(), key=lambda held: held.recent.refused, default=None)
        if worst is not None:
            record["recent"], record["recent_not_finite"] = worst.recent.judged, worst.recent.refused
        return record


def _first_states(rule: Rule, value: Array) -> list[Array]:
    """Return what the states of a piece begin as; its average, if there is one, as its first value."""
    states = [np.full_like(value, rule.start) for _ in rule.states]
    if rule.averages:
        np.copyto(states[-1], value)
    return states


def _joined(parts: Sequence[Array], dtype: np.dtype[Any]) -> Array:
    return np.concatenate(parts) if parts else np.empty(0, dtype)
