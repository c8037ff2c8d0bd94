"""Run dbmpi.train, fail if numpy is loaded too early, and say what a rank has loaded that not all need.

Too early is before the number of threads is chosen. The last line of each rank is `rank 1: [...]`.
"""

import json
import os
import sys

from dbmpi import train
from dbmpi.run.start import launch

# Without difflib: Numba loads scipy where it is installed, and scipy loads it.
NOTED = ["tomllib", "dbmpi.config.load", "dbmpi.config.source", "dbmpi.config.values", "numba", "llvmlite"]

choose = launch.thread_environment


def checked(threads: int) -> dict[str, str]:
    """See `launch.thread_environment`."""
    assert "numpy" not in sys.modules, "numpy is loaded too early"
    return choose(threads)


if __name__ == "__main__":
    launch.thread_environment = checked
    status = train.main(sys.argv[1:])
    loaded = [name for name in NOTED if name in sys.modules]
    print(f"rank {launch.env_rank(os.environ)}: {json.dumps(loaded)}", flush=True)
    sys.exit(status)
