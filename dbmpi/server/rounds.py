"""Rounds: what replicas push for one step of a piece waits until all have, and is averaged. Without MPI.

In `train.algorithm = "sync"` every replica asks once in every round for the parameters after its step, with a
gradient or, if it has no minibatch in that round, without. A round is over when all replicas have asked, or,
with b backup workers, all but b; what then comes for it is late. Replicas that have lost a rank are members
no more. Gradients are added up in the order of the replicas, whatever the order in which they come.

References
----------
Chen et al. 2016, Revisiting distributed synchronous SGD, section 3: backup workers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import fsum
from typing import NamedTuple

import numpy as np

from dbmpi.arrays import Array, Record
from dbmpi.comm.protocol import Op
from kernels.parameters import rules

CHUNK = 1 << 16  # elements that are averaged at a time: with what the rule needs they stay in the cache


class Waiting(NamedTuple):
    """A request of a round: its header, the world rank that waits, and its vectors where they are mapped."""

    header: Record
    source: int
    gradient: Array | None
    parameters: Array | None

    @property
    def round(self) -> int:
        """The round that it is for."""
        return int(self.header["round"])

    @property
    def contributes(self) -> bool:
        """Whether it brings a gradient."""
        return bool(self.header["op"] & Op.PUSH and self.header["weight"] > 0)


class Rounds:
    """Who waits for the step of which round, piece by piece.

    Parameters
    ----------
    replicas
        World ranks of the partitions of each replica.
    backups
        Replicas that a round need not wait for; it waits for one.
    begun
        Returns how many rounds of a piece were over when it came to be served here.
    """

    def __init__(self, replicas: Sequence[Sequence[int]], backups: int, begun: Callable[[int], int]) -> None:
        self._replica_of = {rank: r for r, ranks in enumerate(replicas) for rank in ranks}
        self._members, self._begun = set(range(len(replicas))), begun
        self._fewest = max(1, len(replicas) - backups)
        self._rounds: dict[int, int] = {}
        self._waiting: dict[int, dict[int, Waiting]] = {}  # by piece and replica

    def round(self, piece: int) -> int:
        """Return the number of the round that a piece is in."""
        return self._rounds.setdefault(piece, self._begun(piece))

    @property
    def under_way(self) -> bool:
        """Whether any request waits."""
        return any(self._waiting.values())

    def join(self, piece: int, request: Waiting) -> bool:
        """Let a request wait for its round; return whether it may: not if that is over."""
        replica = self._replica_of[request.source]
        if replica not in self._members or request.round < self.round(piece):
            return False
        self._waiting.setdefault(piece, {})[replica] = request
        return True

    def leave(self, dead: Iterable[int]) -> list[tuple[int, Waiting]]:
        """Let the replicas of dead ranks leave; return what their other ranks wait for, by piece."""
        ranks = set(dead)
        gone = {self._replica_of[rank] for rank in ranks if rank in self._replica_of} & self._members
        self._members -= gone
        left = []
        for piece, waiting in self._waiting.items():
            requests = [waiting.pop(replica) for replica in gone if replica in waiting]
            left += [(piece, request) for request in requests if request.source not in ranks]
        return left

    def take(self, piece: int) -> list[Waiting] | None:
        """Return what waits for a round that is over, in the order of the replicas, and begin the next one.

        None if it is not over. A replica that waits for a later round has left this one out.
        """
        waiting = self._waiting.get(piece)
        number = self._over(piece, waiting) if waiting else None
        if waiting is None or number is None:
            return None
        self._rounds[piece] = number + 1
        return [waiting.pop(r) for r in sorted(waiting) if waiting[r].round == number]

    def _over(self, piece: int, waiting: Mapping[int, Waiting]) -> int | None:
        """Return the number of the round that is over, if one is.

        Where all are here it is the first that one waits for: rounds before it may have died with a shard.
        """
        if len(waiting) == len(self._members):
            return min(request.round for request in waiting.values())
        number = self.round(piece)
        here = [request for request in waiting.values() if request.round == number]
        enough = len(here) >= self._fewest and any(request.contributes for request in here)
        return number if enough else None


class Mean:
    """The mean of gradients that lie somewhere, made part by part where it is wanted.

    Parameters
    ----------
    gradients : sequence of (n,)
        One or more, in the order in which they are added up.
    weights
        Of each.
    room : (CHUNK,)
        Overwritten, where there are several.
    """

    def __init__(self, gradients: Sequence[Array], weights: Sequence[float], room: Array) -> None:
        self._gradients, self._weights, self._scale = gradients, weights, 1 / fsum(weights)
        self._room = room

    def part(self, start: int, stop: int) -> Array:
        """Return elements [start, stop), at most `CHUNK` of them; valid until the next call."""
        first, *others = (gradient[start:stop] for gradient in self._gradients)
        if not others:
            return first
        if self._weights == [1.0, 1.0]:  # in one pass, with the same bits
            rules.mean_of_two(self._room[: stop - start], first, others[0], self._scale)
            return self._room[: stop - start]
        part = np.multiply(first, self._weights[0], out=self._room[: stop - start])
        for gradient, weight in zip(others, self._weights[1:], strict=True):
            rules.add_scaled(part, weight, gradient)
        part *= self._scale
        return part


class GradientsInPlace:
    """Gradients of a round that stay where they are until the mean is wanted.

    Parameters
    ----------
    room : (CHUNK,)
        Overwritten.
    """

    def __init__(self, room: Array) -> None:
        self._room = room
        self._gradients: list[Array] = []
        self._weights: list[float] = []

    def add(self, gradient: Array, weight: float) -> None:
        """Take in the next one."""
        self._gradients.append(gradient)
        self._weights.append(weight)

    def mean(self) -> Mean | None:
        """Return the mean, if there is any."""
        return Mean(self._gradients, self._weights, self._room) if self._gradients else None


class RunningSum:
    """Gradients of a round that come one after another: the bits of the mean are the same.

    Parameters
    ----------
    room : (n,)
        Overwritten.
    """

    def __init__(self, room: Array) -> None:
        self._sum = room
        self._weights: list[float] = []

    def add(self, gradient: Array, weight: float) -> None:
        """Take in the next one."""
        if not self._weights:
            np.copyto(self._sum, gradient)
        else:
            if len(self._weights) == 1:  # the first is as it came as long as it is alone
                self._sum *= self._weights[0]
            rules.add_scaled(self._sum, weight, gradient)
        self._weights.append(weight)

    def mean(self) -> Mean | None:
        """Return the mean, if there is any; no more come."""
        if len(self._weights) > 1:
            self._sum *= 1 / fsum(self._weights)
        return Mean([self._sum], [1.0], self._sum[:0]) if self._weights else None
