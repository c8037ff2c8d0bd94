"""The world of a process that no launcher has started: itself.

Without MPI, whose start takes a second, and fails where it finds no home directory or no temporary files.
"""


class Alone:
    """What is asked of a communicator before the roles split. See `MPI.Intracomm`."""

    def Get_rank(self) -> int:
        """Return the rank."""
        return 0

    def Get_size(self) -> int:
        """Return the number of ranks."""
        return 1


class Guest(Alone):
    """The same in the process of somebody else, as a notebook: what belongs to the process is left as it is.

    That is its environment, its signals, its threads, and when its memory is collected.
    """
