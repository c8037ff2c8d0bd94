"""Run dbmpi.train, and fail if numpy is loaded before the number of threads is chosen."""

import sys

from dbmpi import train
from dbmpi.run import launch

choose = launch.thread_environment


def checked(threads: int) -> dict[str, str]:
    """See `launch.thread_environment`."""
    assert "numpy" not in sys.modules, "numpy is loaded too early"
    return choose(threads)


if __name__ == "__main__":
    launch.thread_environment = checked
    sys.exit(train.main(sys.argv[1:]))
