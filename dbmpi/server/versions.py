"""The versions of a piece that clients compute gradients from, kept until these have come. Without MPI.

A rule that revises steps (`rules.Rule.revises`) needs the parameters that a gradient was computed from: the
fetched ones, not a replica's locally stepped copy. They are kept by version, once for all clients that hold
it, and copied only when an update is about to replace them, so one client that waits for its fetches costs
nothing. What a client holds follows from its requests: the version of what it has accrued, of what it fetched
last (`Op.HOLD`), and of what it fetches (`Op.LEARN`); so never more than three, and a copy for each.
"""

from typing import NamedTuple

import numpy as np

from dbmpi.arrays import Array
from dbmpi.comm.protocol import Op


class Version(NamedTuple):
    """Parameters that updates have replaced.

    `rates` is the sum of the rates of all updates before; no magnitude in `value` exceeds `bound`, if it is
    known.
    """

    value: Array
    rates: float
    bound: float | None


class Versions:
    """The versions of one piece that clients hold."""

    def __init__(self) -> None:
        self._held: dict[int, set[int]] = {}  # client: versions
        self._kept: dict[int, Version] = {}
        self._spare: Array | None = None

    @property
    def copies(self) -> int:
        """How many are kept."""
        return len(self._kept)

    def take(self, client: int, op: Op, version: int, accrued: bool) -> Version | None:
        """Take in a request; return the version that it names, if the client holds it and it is kept.

        Parameters
        ----------
        client
            Who asks.
        version, accrued
            As in the request: that of the gradient, and whether there is one.

        Notes
        -----
        What is returned stays as it is until the next request for this piece.
        """
        self._drop()
        before = self._held.pop(client, set())
        held = {version} if accrued and not op & Op.PUSH else set()
        if op & Op.HOLD and before:
            held.add(max(before))
        if held & before:
            self._held[client] = held & before
        return self._kept.get(version) if version in before else None

    def hold(self, client: int, version: int) -> None:
        """A client has fetched a version to compute gradients from it."""
        self._held.setdefault(client, set()).add(version)

    def forget(self, client: int) -> None:
        """A client is gone."""
        self._held.pop(client, None)
        self._drop()

    def keep(self, version: int, value: Array, rates: float, bound: float | None) -> None:
        """Copy parameters that an update is about to replace, if a client holds them."""
        if any(version in held for held in self._held.values()):
            room, self._spare = self._spare if self._spare is not None else np.empty_like(value), None
            np.copyto(room, value)
            self._kept[version] = Version(room, rates, bound)

    def _drop(self) -> None:
        """Drop what nobody holds; the room of one is for the next."""
        needed = set[int]().union(*self._held.values())
        for version in self._kept.keys() - needed:
            self._spare = self._kept.pop(version).value
