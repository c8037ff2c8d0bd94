"""What partitions ask for in rounds (`rounds`): it waits, and all of a round is served at once.

Gradients that are mapped are averaged while the rule is applied. Others, and compressed ones, are received or
decoded one after another and added up in one buffer, so that a shard takes the same memory whatever the
number of replicas; until then they wait with their senders. What a client that has died asked for is dropped.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from math import sqrt
from typing import NamedTuple

import numpy as np

from dbmpi.arrays import Array, Record
from dbmpi.comm.messages import tolerant
from dbmpi.comm.protocol import UNKNOWN, WIRE, Op, Status
from dbmpi.comm.ulfm import FailureDetector
from dbmpi.server.compression import COMPRESSED
from dbmpi.server.magnitudes import largest
from dbmpi.server.requests import LeftOut, RequestHandler, Unmapped
from dbmpi.server.rounds import CHUNK, GradientsInPlace, Mean, Rounds, RunningSum, Waiting
from dbmpi.server.shard import Shard
from dbmpi.spans import OFF, Kind, Off
from kernels.parameters import rules


class _Sum(NamedTuple):
    """The mean of a round, None without gradients, what no element of it exceeds, and how each was taken."""

    mean: Mean | None
    norm: float
    statuses: list[Status]


class RoundHandler:
    """Serves the requests of rounds.

    Parameters
    ----------
    shard
        What is served.
    handler
        Receives what requests announce, and replies.
    rounds
        Who waits for what.
    detector
        What is known of deaths.
    spans
        Records when the steps are made.
    """

    def __init__(
        self,
        shard: Shard,
        handler: RequestHandler,
        rounds: Rounds,
        detector: FailureDetector,
        spans: Off = OFF,
    ) -> None:
        self._spans, self._serials = spans, dict[tuple[int, int], int]()  # of requests, by who and piece
        self._shard, self._handler, self._rounds, self._detector = shard, handler, rounds, detector
        self._room, self._part = np.empty(0, shard.dtype), np.empty(CHUNK, shard.dtype)

    @property
    def under_way(self) -> bool:
        """Whether somebody waits for others."""
        return self._rounds.under_way

    def serve(self, header: Record, source: int) -> None:
        """Let a request wait for its round, and serve the rounds that are over by it; or it is late."""
        piece = self._handler.known_piece(header, source)
        self._serials[source, piece] = self._handler.serial
        try:
            request = self._located(header, source)
        except Unmapped:
            self._tolerate(partial(self._handler.answer, header, source, Status.UNMAPPED))
            return
        if self._rounds.join(piece, request):
            self._serve_rounds(piece)
        else:
            self._turn_away(piece, request)

    def _located(self, header: Record, source: int) -> Waiting:
        """Find the vectors of a request that are mapped."""
        gradient = parameters = None
        if Op(int(header["op"])) & Op.PUSH and header["gradient"]["pid"]:
            gradient = self._handler.mapped(header, "gradient", source)
        if header["parameters"]["pid"]:
            parameters = self._handler.mapped(header, "parameters", source)
        return Waiting(header, source, gradient, parameters)

    def leave(self, dead: Sequence[int]) -> None:
        """Let the replicas of dead ranks leave all rounds: nobody waits for them any more."""
        if not dead:
            return
        for piece, request in self._rounds.leave(dead):
            self._turn_away(piece, request)
        for piece in self._shard.held:
            self._serve_rounds(piece)

    def _serve_rounds(self, piece: int) -> None:
        """Make the steps that nobody has to be waited for any more, and answer."""
        while (requests := self._rounds.take(piece)) is not None:
            start = time.monotonic()
            mean, norm, statuses = self._sum(piece, requests)
            outs = [request.parameters for request in requests if request.parameters is not None]
            rate = max(float(request.header["rate"]) for request in requests)
            made = self._shard.step(piece, mean, norm, rate, outs)
            version = self._shard.held[piece].version
            self._spans.note(Kind.ROUND, start, time.monotonic(), piece=piece, version=version)
            for request, status in zip(requests, statuses, strict=True):
                if request.contributes:
                    status = made if status is Status.OK else status
                    self._shard.count(piece, status, staleness=0)
                self._answer(piece, request, status)

    def _turn_away(self, piece: int, request: Waiting) -> None:
        """Drop what comes late, and answer with the parameters of now."""
        if request.contributes and request.gradient is None:
            self._received(request)
        if request.parameters is not None:
            np.copyto(request.parameters, self._shard.held[piece].value)
        self._answer(piece, request, Status.LATE if request.contributes else Status.OK)

    def _answer(self, piece: int, request: Waiting, status: Status) -> None:
        next_round, now = self._rounds.round(piece), time.monotonic()
        about = request.source, piece, self._serials[request.source, piece], self._shard.held[piece].version
        self._spans.note(Kind.SERVE, now, now, int(request.header["op"]), *about)
        self._tolerate(partial(self._handler.answer, request.header, request.source, status, next_round))

    def _tolerate(self, call: Callable[[], None]) -> None:
        tolerant(call, self._detector.learn, None)

    # -- the mean ------------------------------------------------------------------------------------------

    def _sum(self, piece: int, requests: Sequence[Waiting]) -> _Sum:
        """Add up the gradients that no guard refuses, with no pass of their own where all are in place."""
        in_place = all(map(_in_place, requests))
        total = GradientsInPlace(self._part) if in_place else RunningSum(self._buffer(piece))
        bound, weights, statuses = 0.0, 0.0, []
        for request in requests:
            status, weight = Status.OK, float(request.header["weight"])
            gradient = request.gradient if in_place or not weight else self._received(request)
            if weight and gradient is not None:
                self._handler.bytes_in += gradient.nbytes if in_place else 0  # counted as it is received
                square = _square(request, gradient)
                status = self._judge(square, bound, weight)
                if status is Status.OK:
                    total.add(gradient, weight)
                    bound, weights = bound + weight * sqrt(square), weights + weight
            statuses.append(status)
        return _Sum(total.mean(), bound / weights if weights else 0.0, statuses)

    def _judge(self, square: float, bound: float, weight: float) -> Status:
        """Return whether a guard refuses a gradient, or the sum would be too large with it."""
        status = self._shard.judge(square)
        if status is Status.OK and not bound + weight * sqrt(square) <= largest(self._shard.dtype):
            return Status.NOT_FINITE
        return status

    def _received(self, request: Waiting) -> Array | None:
        """Return a gradient that is received or decoded; None if its sender has died, or is left out."""
        call = partial(self._handler.gradient, request.header, request.source)
        with suppress(LeftOut):
            return tolerant(call, self._detector.learn, None)
        return None

    def _buffer(self, piece: int) -> Array:
        size = len(self._shard.held[piece].value)
        if len(self._room) < size:
            self._room = np.empty(size, self._shard.dtype)
        return self._room[:size]


def _in_place(request: Waiting) -> bool:
    """Return whether a request brings no gradient, or one that can be used where it lies."""
    plain = WIRE[int(request.header["wire"])] not in COMPRESSED
    return not request.contributes or (plain and request.gradient is not None)


def _square(request: Waiting, gradient: Array) -> float:
    """Return the sum of squares of a gradient."""
    square = float(request.header["square"])
    return square if square != UNKNOWN else float(rules.sum_of_squares(gradient))
