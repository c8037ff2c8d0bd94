"""The lease of an owner: a thread renews it, and ends the job if another one has taken the directory over."""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from dbmpi.ownership import record
from dbmpi.ownership.claim import restore
from dbmpi.ownership.owned import OwnedDirectory
from dbmpi.ownership.record import Owner

RENEWALS = 4  # within a lease
PATIENCE_S = 5.0  # to write that a lease is over: without that it runs out


class Lease:
    """Renews the record of the owner of a run directory, from when it is made until it is released.

    That it cannot be renewed is a warning: the run goes on, and another job may take the directory over. When
    one has, the thread raises TakenOver, which ends the job (`comm.abort`).

    Parameters
    ----------
    owned, owner
        The directory, and the record that is there.
    warn
        Tells the user, in the thread.
    """

    def __init__(self, owned: OwnedDirectory, owner: Owner, warn: Callable[[str], None]) -> None:
        self._owned, self._owner, self._warn = owned, owner, warn
        self._over, self._failing = threading.Event(), False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(self._owner.lease_s / RENEWALS):
            self._owned.check()
            self._renew()

    def _renew(self) -> None:
        owned = self._owned
        try:
            if not owned.room.exists() and owned.path.exists():
                owned.check()
                restore(owned, self._owner)
            self._owner = record.renew(owned.path, owned.generation, self._owner)
        except OSError as error:
            owned.check()
            if not self._failing:
                reason = os.strerror(error.errno) if error.errno else str(error)
                self._warn(
                    f"the lease on run directory {owned.path} cannot be renewed: {reason}; another run that "
                    f"waits for it may take it over in {self._owner.lease_s:g} s"
                )
            self._failing = True
            return
        self._failing = False

    def release(self) -> None:
        """Give the directory up: another job may have it at once. Local; waits for no disk that hangs."""
        if not self._over.is_set():
            self._over.set()
            last = threading.Thread(target=self._give_up, daemon=True)
            last.start()
            last.join(PATIENCE_S)

    def _give_up(self) -> None:
        self._thread.join()
        give_up(self._owned, self._owner)


def give_up(owned: OwnedDirectory, owner: Owner) -> None:
    """Say in the record of an owner that it has ended, if that can be written. Local."""
    with suppress(OSError):
        record.renew(owned.path, owned.generation, replace(owner, ended=True))
