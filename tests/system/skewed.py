"""Run dbmpi.train as if ranks 2 and above were on another host, whose clock is AHEAD_S ahead.

    python -m tests.system.skewed ARGUMENTS...

What goes to the other host travels as messages there, as no memory is shared.
"""

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from dbmpi import spans, train
from dbmpi.comm import clocks, world
from dbmpi.run.start import launch

AHEAD_S = 1000.0
FIRST = 2  # rank of the other host


def main(argv: list[str]) -> int:
    """Move the ranks and the clock, and run the program."""
    survey, parts = world.survey, spans.Recorder.parts

    def two_hosts(*given: Any) -> list[Any]:
        return [replace(place, node=int(rank >= FIRST)) for rank, place in enumerate(survey(*given))]

    def ahead(recorder: spans.Recorder, header: Any) -> Iterator[Any]:
        recorder._settle()
        for name in ("start", "stop"):
            recorder._ring[name] += AHEAD_S
        return parts(recorder, header)

    world.survey = two_hosts
    if launch.env_rank(os.environ) >= FIRST:
        clocks.offset = partial(clocks.offset, clock=lambda: time.monotonic() + AHEAD_S)
        spans.Recorder.parts = ahead  # type: ignore[method-assign]
    return train.main(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
