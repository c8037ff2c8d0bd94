"""Run dbmpi.train with one thing going wrong.

    python -m tests.system.faulty FAULT PLACE RANK CALL ARGUMENTS...

On world rank RANK (-1: on every one), the CALL-th call (from 1) of what PLACE names goes wrong as FAULT says;
the ARGUMENTS are dbmpi.train's. The program has no hooks for this: methods are replaced before it starts.
"""

import importlib
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dbmpi import train
from dbmpi.run.start import launch, sentinel
from scripts.chaos.victims import by_rank
from scripts.processes import TOKENS, carriers

PLACES = {
    "library": ("dbmpi.train", "bounded", ""),  # MPI is about to start
    "shard": ("dbmpi.server.service", "ShardService", "_serve"),  # a request
    "reply": ("dbmpi.server.requests", "_Reply", "send"),
    "replica": ("dbmpi.replica.downpour", "DownpourClient", "step"),  # a minibatch
    "gradient": ("dbmpi.model.partition", "PartitionModel", "differentiate"),
    "coordinator": ("dbmpi.coordinator.service", "CoordinatorService", "_receive"),  # look for a report
    "booking": ("dbmpi.output.metrics", "MetricsLog", "train"),  # the coordinator has a portion's reports
    "evaluation": ("dbmpi.model.partition", "PartitionModel", "evaluate"),
    "reader": ("dbmpi.data.prefetch", "Prefetcher", "_portion"),  # in a thread
    "saving": ("dbmpi.checkpoint.model_file", "write", ""),
    "slice": ("dbmpi.checkpoint.shard_file", "write", ""),  # a shard's part of a checkpoint, in a thread
    "index": ("dbmpi.checkpoint.index", "write_index", ""),  # the coordinator completes one, in a thread
    "fsync": ("os", "fsync", ""),
    "publish": ("dbmpi.checkpoint.manifest", "publish", ""),
    "restoring": ("dbmpi.run.roles.shard_rank", "restore_shard", ""),  # a shard, from its checkpoint
    "warming": ("dbmpi.run.roles.warmup", "warm_up", ""),  # between the look at the data and the roles
    "start": ("dbmpi.run.plan.setup", "prepare", ""),
    "survey": ("dbmpi.comm.world", "survey", ""),  # the first thing that all ranks do together
}
NO_SHARING = "DBMPI_TEST_NO_SHARING"  # if set, shards map no memory: all travels as messages
OUT_OF_REACH = "DBMPI_TEST_OUT_OF_REACH"  # if set, ranks cannot kill others: as on hosts of their own
SLOW_S = 0.05  # of every request, with the fault `slow`
SLOW_DISK_S = 1.8  # of every call, with the fault `slow disk`
SLEEP_S = 5.0
NEWS_S = 0.5
FREED_S = 0.5  # after the fault `full for a while`
FULL_BYTES = 4000  # enough for the messages, where they go to a file


FILE_FAULTS: dict[str, Callable[[str], Any]] = {  # what becomes of a file
    "truncate": lambda path: os.truncate(path, os.path.getsize(path) // 2),
    "rewrite": lambda path: Path(path).write_bytes(Path(path + ".other").read_bytes()),
    "replace": lambda path: os.replace(path + ".other", path),
    "remove": os.unlink,
}


class Broken(Exception):
    """The fault `raise`."""


def wrong(fault: str) -> None:
    """Do what goes wrong once."""
    if fault == "raise":
        raise Broken("for the test")
    if fault in ("kill", "stop"):
        os.kill(os.getpid(), signal.SIGKILL if fault == "kill" else signal.SIGSTOP)
    elif fault == "kill next":  # the rank after this one; and the news of it travels
        os.kill(by_rank(carriers(os.environ[TOKENS]))[launch.env_rank(os.environ) + 1], signal.SIGKILL)
        time.sleep(NEWS_S)
    elif fault.startswith(("kill ", "stop ")):  # several ranks at once
        number = signal.SIGKILL if fault.startswith("kill") else signal.SIGSTOP
        processes = by_rank(carriers(os.environ[TOKENS]) + [os.getpid()])
        for rank in sorted(map(int, fault.split()[1:]), key=lambda rank: processes[rank] == os.getpid()):
            os.kill(processes[rank], number)
    elif fault == "sleep":
        time.sleep(SLEEP_S)
    elif fault.startswith("full"):  # no file may grow: EFBIG, which reaches the program as ENOSPC does
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (FULL_BYTES, before[1]))
        if fault == "full for a while":
            threading.Timer(FREED_S, resource.setrlimit, (resource.RLIMIT_FSIZE, before)).start()
    elif fault == "bind":  # to one core each, as some launchers do
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[launch.env_rank(os.environ) % len(cores)]})
    elif fault in FILE_FAULTS:
        FILE_FAULTS[fault](os.environ["DBMPI_TEST_DATA"])
    else:
        raise ValueError(fault)


def die_after_the_header(
    send: Callable[..., Any], reply: Any, comm: Any, to: int, _: Any, header: Any
) -> None:
    """Die when the header of a reply has left, before the parameters that follow it."""
    send(reply, comm, to, None, header)
    late = time.monotonic() + NEWS_S
    while time.monotonic() < late:
        reply.sent()
    wrong("kill")


def broken(method: Callable[..., Any], fault: str, at: int) -> Callable[..., Any]:
    """Return `method` with the fault at its `at`-th call, or at every one where it is a delay."""
    calls = 0

    def instead(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if fault.startswith("slow"):
            time.sleep(SLOW_S if fault == "slow" else SLOW_DISK_S)
        elif fault == "half" and calls == at:
            die_after_the_header(method, *args)
        elif fault != "nan" and calls == at:
            wrong(fault)
        result = method(*args, **kwargs)
        if fault == "nan" and calls == at:
            args[2].flat[:] = float("nan")  # of differentiate: its gradient
        return result

    return instead


def main(argv: list[str]) -> int:
    """Break what is to be broken, and run the program."""
    fault, place, rank, at, *arguments = argv
    if place == "library":
        sentinel.SHORT_S = 1.0
    if os.environ.get(NO_SHARING):
        importlib.import_module("dbmpi.replica.rooms").Rooms._new = lambda rooms, size: None
    if os.environ.get(OUT_OF_REACH):
        importlib.import_module("dbmpi.process").kill = lambda process: False
    if int(rank) in (-1, launch.env_rank(os.environ)):
        module, name, method = PLACES[place]
        holder, attribute = importlib.import_module(module), name
        if method:
            holder, attribute = getattr(holder, name), method
        setattr(holder, attribute, broken(getattr(holder, attribute), fault, int(at)))
    return train.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
