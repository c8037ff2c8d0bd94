"""What replicas have done for a batch method, over all passes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

_COUNTS = ("done", "won", "lost")


_SUMS = ("copies", "copies_used", "passes_s", "busy_s")


@dataclass
class Tally:
    """What replicas have done, over all passes so far.

    `done` counts portions computed to their end, `won` those of them that counted, `lost` those that did
    not because another replica was first, given up half-way or not; `copies` and `copies_used` count backup
    copies handed out, and those of them that won; `waited_s` is the time in which a replica computed
    nothing, a mean over replicas.
    """

    replicas: int
    done: NDArray[np.int64] = field(init=False)
    won: NDArray[np.int64] = field(init=False)
    lost: NDArray[np.int64] = field(init=False)
    copies: int = 0
    copies_used: int = 0
    passes_s: float = 0.0
    busy_s: float = 0.0

    def __post_init__(self) -> None:
        self.done, self.won, self.lost = (np.zeros(self.replicas, np.int64) for _ in range(3))

    def state(self) -> dict[str, Any]:
        """Return the sums, for `restore`."""
        counts = {name: getattr(self, name).tolist() for name in _COUNTS}
        return counts | {name: getattr(self, name) for name in _SUMS}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Count on from `state`; what each replica has done, if there are as many as then."""
        for name in _SUMS:
            setattr(self, name, state[name])
        if len(state["done"]) == self.replicas:
            for name in _COUNTS:
                getattr(self, name)[...] = state[name]

    @property
    def waited_s(self) -> float:
        """Seconds of the passes in which a replica, on average, computed nothing."""
        return max(0.0, self.passes_s - self.busy_s / self.replicas)
