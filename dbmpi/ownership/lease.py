"""The lease of an owner: a thread renews it, and ends the job if another one has taken the directory over."""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from dbmpi.ownership import record
from dbmpi.ownership.owned import OwnedDirectory
from dbmpi.ownership.record import Owner

RENEWALS = 4  # within a lease


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
        """Give the directory up: another job may have it at once. Local."""
        if self._over.is_set():
            return
        self._over.set()
        self._thread.join()
        give_up(self._owned, self._owner)


def give_up(owned: OwnedDirectory, owner: Owner | None = None) -> None:
    """Say in a record, `owner` or the one that is there, that its owner has ended, if that can be written."""
    there = owner or Owner.of(record.read(owned.path, owned.generation))
    if there is not None:
        with suppress(OSError):
            record.renew(owned.path, owned.generation, replace(there, ended=True))
