"""A job that asks a trained model, from the command line to its end: alone, or one rank of many.

As in training: everything is checked before MPI starts or before the first row is read, by rank 0 for all; a
mistake is one message and status 2. What evaluate and predict do themselves is their `Task`.
"""

import os
import secrets
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

from dbmpi.comm import abort
from dbmpi.comm.alone import Alone
from dbmpi.errors import STATUS_OK, UserError
from dbmpi.run.start import first_sign, launch
from dbmpi.run.start.early import EARLY
from dbmpi.run.start.refusal import Refused, agree, refuse, refuse_singleton
from dbmpi.run.start.starting import begin, listening
from dbmpi.screen import reported

if TYPE_CHECKING:
    from mpi4py import MPI

    from dbmpi.comm.places import RankPlace
    from dbmpi.inference.work import Crew, Plan
    from dbmpi.trained.model import TrainedModel

COMPILE_S = 300.0


class Task(Protocol):
    """What a command does."""

    name: str

    def parse(self, argv: Sequence[str]) -> Namespace:
        """Read the command line. Raises UserError."""

    def look(self, given: Namespace, trained: "TrainedModel") -> Any:
        """Return the source of the rows, once everything is found right. On rank 0; raises UserError."""

    def work(self, given: Namespace, crew: "Crew") -> None:
        """Do it, in step with all ranks."""


def main(task: Task, argv: Sequence[str] | None = None) -> int:
    """Run a command line, and return the exit status."""
    EARLY.until = ""
    words = sys.argv[1:] if argv is None else argv

    def work() -> int:
        first_sign.show_beside(task.name, words)
        return reported(_main(task, words))

    return listening(work)


def _main(task: Task, argv: Sequence[str]) -> int:
    """Read the command line, and work."""
    try:
        given = task.parse(argv)
        from dbmpi.run.start import surroundings

        warnings = surroundings.settle_process(os.environ)
    except UserError as error:
        return refuse(error)
    return begin(warnings, partial(_alone, task, given), partial(_ranks, task, given))


def _alone(task: Task, given: Namespace, who: abort.RankIdentity) -> int:
    """Work in this one process, without MPI."""
    try:
        return _work(task, given, cast("MPI.Intracomm", Alone()), who)
    except UserError as error:
        return refuse(error)


def _ranks(task: Task, given: Namespace, comm: "MPI.Intracomm", who: abort.RankIdentity) -> int:
    """Work as one rank. Collective over `comm`."""
    from dbmpi.comm import ulfm

    try:
        launch.check_world(os.environ, comm.Get_size(), given.words, f"dbmpi.{task.name}")
    except UserError as error:
        return refuse_singleton(error)
    with ulfm.readable(comm):
        return _work(task, given, comm, who)


def _work(task: Task, given: Namespace, comm: "MPI.Intracomm", who: abort.RankIdentity) -> int:
    """Agree on what is done, and do it. Collective over `comm`."""
    from dbmpi.run.start import surroundings

    with surroundings.scarcity():
        try:
            places, threads, crowded = _settle(comm, given)
            look = _looking(task, given, places)
            plan, trained = _opened(comm, look)
            who.job = agree(comm, lambda: secrets.token_hex(16), "a name for the job")
        except Refused as refused:
            return refused.status
        from dbmpi.inference.work import Crew

        team = None if comm.Get_size() == 1 else comm
        with Crew(plan, trained, team, threads, crowded, places) as crew:
            who.role, who.comms = crew.name, crew.team.comms
            task.work(given, crew)
    return STATUS_OK


def _settle(comm: "MPI.Intracomm", given: Namespace) -> "tuple[list[RankPlace], int, bool]":
    """Return where ranks run, the threads of this one, and whether its node is crowded. Collective.

    No numpy before this: libraries read the number of threads as they are loaded.
    """
    from dbmpi.config.sections import Config
    from dbmpi.run.plan import cores
    from dbmpi.run.plan.setup import survey

    config = Config()
    config = replace(config, cluster=replace(config.cluster, threads=given.threads or "auto"))
    places = survey(comm, config.cluster.timeout_s)
    return places, *cores.choose_threads(comm, config, places)


def _opened(comm: "MPI.Intracomm", look: "Callable[[], Plan]") -> "tuple[Plan, TrainedModel]":
    """Agree on what is done, and open the model on every rank. Collective over `comm`.

    Once more where a run that goes on has removed its checkpoint meanwhile.

    Raises
    ------
    Refused
        See `agree`.
    UserError
        This rank cannot open what is there.
    """
    from dbmpi.comm.meeting import exchanged
    from dbmpi.trained.opening import open_model

    before, trained = None, None
    while True:
        plan = agree(comm, look, "looking at the model and the data", COMPILE_S)
        try:
            trained = open_model(plan.model)
        except UserError:
            if plan.model == before:
                raise
        opened = exchanged(comm, trained is not None, "the model on all ranks", COMPILE_S)
        if trained is not None and all(opened):
            return plan, trained
        if trained is not None:
            trained.close()
        before, trained = plan.model, None


def _looking(task: Task, given: Namespace, places: "list[RankPlace]") -> "Callable[[], Plan]":
    """Return what finds out on rank 0 what is done."""

    def look() -> "Plan":
        from dbmpi.inference.work import plan

        return plan(given, places, lambda trained: task.look(given, trained))

    return look
