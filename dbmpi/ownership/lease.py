"""The lease of an owner: a thread renews it, and ends what owns the directory no more."""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from dataclasses import replace

from dbmpi.ownership import record
from dbmpi.ownership.claim import restore
from dbmpi.ownership.owned import OwnedDirectory, delete
from dbmpi.ownership.record import OWNER, RECORD, Owner

RENEWALS = 4  # within a lease
PATIENCE_S = 5.0  # to write that a lease is over: without that it runs out


class Lease:
    """Renews the record of the owner of a run directory, from when it is made until it is released.

    That it cannot be renewed is a warning: the run goes on, and another job may take the directory over. When
    one has, the thread raises TakenOver, which ends the job; when a rank of this job has, Fenced, which ends
    this one alone (`comm.abort`).

    Parameters
    ----------
    owned, owner
        The directory, and the record that is there.
    warn
        Tells the user, in the thread.

    Attributes
    ----------
    last
        What is done before the directory is given up.
    """

    def __init__(self, owned: OwnedDirectory, owner: Owner, warn: Callable[[str], None]) -> None:
        self._owned, self._owner, self._warn = owned, owner, warn
        self._over, self._failing = threading.Event(), False
        self.last: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=copy_context().run, args=(self._run,), daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(self._owner.lease_s / RENEWALS):
            self._owned.check()
            self._renew()
        self.last()
        give_up(self._owned, self._owner)

    def _renew(self) -> None:
        owned = self._owned
        try:
            if not (owned.room / RECORD).exists() and owned.path.exists():
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
        self._over.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(PATIENCE_S)


def abandon(owned: OwnedDirectory, *names: str) -> None:
    """Leave a directory as if it had had no owner; `names` are directories in it, removed if they are empty.

    To be called by its first owner, which has put nothing else there. Local. Raises OSError, TakenOver.
    """
    owned.check()
    for room in owned.rooms[1:]:
        delete(room)
        room.parent.rmdir()
    for name in names:
        with suppress(OSError):
            (owned.path / name).rmdir()
    away = owned.room.with_name(f".gone-{owned.launch}")
    owned.room.rename(away)  # from here on another job may be the first owner
    delete(away)
    with suppress(OSError):
        (owned.path / OWNER).rmdir()


def give_up(owned: OwnedDirectory, owner: Owner) -> None:
    """Say in the record of an owner that it has ended, if that can be written. Local."""
    with suppress(OSError):
        record.renew(owned.path, owned.generation, replace(owner, ended=True))
