"""Run dbmpi.train serially, and write the parameters after each update, and before the first, to steps.npy.

python -m tests.system.stepwise ARGUMENTS...
"""

import sys
from typing import Any

import numpy as np

from dbmpi import train
from dbmpi.server.shard import Shard


def follow(steps: list[np.ndarray]) -> None:
    """Let the shard, which has one piece, write its parameters down."""
    push, first = Shard.push, Shard.__init__

    def init(self: Shard, index: int, values: Any, *given: Any) -> None:
        first(self, index, values, *given)
        steps[:] = map(np.copy, values.values())  # that of the run comes after the rehearsal's

    def push_(self: Shard, piece: int, *given: Any, **more: Any) -> Any:
        status = push(self, piece, *given, **more)
        steps.append(self.held[piece].value.copy())
        return status

    Shard.__init__, Shard.push = init, push_  # type: ignore[method-assign]


if __name__ == "__main__":
    followed: list[np.ndarray] = []
    follow(followed)
    status = train.main(sys.argv[1:])
    np.save("steps.npy", followed)
    sys.exit(status)
