"""What befalls ranks: they are killed, stand still, or run out of memory; or the job is told to stop."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from dbmpi.checkpoint.directory import under_construction
from scripts import processes
from scripts.chaos.scene import Scene

SHORT, LONG = (0.2, 0.7), (2.8, 3.5)  # pauses, in deadlines: silence is judged after 1.5
SUSPENDED = 2.0
MEMORY = Path("/sys/fs/cgroup/memory")  # version 1 of cgroups
MEMORY_2 = Path("/sys/fs/cgroup")
GIVE_UP_S = 3.0
LONGEST_WRITE_S = 0.05


def kill(scene: Scene) -> None:
    """Kill the victims, one after another."""
    for number, rank in enumerate(scene.victims):
        scene.wait(scene.gap_s if number else 0.0)
        scene.send(rank, signal.SIGKILL)
    scene.settle()


def kill_writing(scene: Scene) -> None:
    """Kill the victims while a checkpoint is under construction, if one is in time."""
    _wait_for_writing(scene)
    scene.meet()
    kill(scene)


def kill_emergency(scene: Scene) -> None:
    """Kill the coordinator while nothing is written, and a shard as soon as a checkpoint is again."""
    coordinator, shard = scene.victims
    deadline = scene.now_s + GIVE_UP_S
    while under_construction(scene.run_dir) and scene.now_s < deadline:
        scene.wait(0.002)
    scene.meet()
    scene.send(coordinator, signal.SIGKILL)
    _wait_for_writing(scene)
    scene.send(shard, signal.SIGKILL)
    scene.settle()


def _wait_for_writing(scene: Scene) -> None:
    """Wait until a checkpoint is under construction, if one is in time, and a moment more."""
    deadline = scene.now_s + GIVE_UP_S
    while not under_construction(scene.run_dir) and scene.now_s < deadline and scene.living():
        scene.wait(0.002)
    scene.wait(scene.draw.uniform(0.0, LONGEST_WRITE_S))


def pause(deadlines: tuple[float, float]) -> Callable[[Scene], None]:
    """Return what stops the victims for so many deadlines, between two bounds, and lets them go on."""

    def act(scene: Scene) -> None:
        with processes.stopped(scene.met):
            scene.settle()
            scene.wait(scene.timeout_s * scene.draw.uniform(*deadlines))

    return act


def suspend(scene: Scene) -> None:
    """Stop the whole job for two deadlines, as a batch system does, and let it go on."""
    with processes.stopped(scene.living()):
        scene.wait(SUSPENDED * scene.timeout_s)
    scene.settle()


def stop(scene: Scene) -> None:
    """Tell a rank to stop in order."""
    processes.send(signal.SIGUSR1, scene.met)
    scene.settle()


def out_of_memory(scene: Scene) -> None:
    """Take the memory that a rank asks for from now on: the kernel kills it."""
    group = _group(scene)
    (rank,) = scene.victims
    group.mkdir()
    try:
        (group / _limit()).write_text("65536")
        pid = scene.pids.get(rank)
        if pid is not None:
            with suppress(OSError):  # it has just left
                (group / "cgroup.procs").write_text(str(pid))
        scene.settle()
        deadline = scene.now_s + GIVE_UP_S
        while rank in scene.pids and scene.now_s < deadline:
            scene.wait(0.05)
        if rank in scene.pids:  # it asks for nothing any more
            scene.notes.append("no memory was asked for: killed by hand")
            scene.send(rank, signal.SIGKILL)
            scene.wait(0.2)
    finally:
        _remove(scene, group)


@cache
def no_memory_groups() -> str:
    """Say why ranks cannot run out of memory here; nothing if they can."""
    probe = group_place() / f"dbmpi-chaos-probe-{os.getpid()}"
    try:
        probe.mkdir()
        there = (probe / _limit()).exists()
        probe.rmdir()
    except OSError as error:
        return f"no group can be made in {group_place()}: {error.strerror}"
    return "" if there else f"groups in {group_place()} do not limit memory"


def group_place() -> Path:
    """Return the directory of control groups of memory."""
    return MEMORY_2 if _version_2() else MEMORY


def _limit() -> str:
    """Return the file of a group that limits its memory."""
    return "memory.max" if _version_2() else "memory.limit_in_bytes"


def _version_2() -> bool:
    return (MEMORY_2 / "cgroup.controllers").exists()


def _group(scene: Scene) -> Path:
    return group_place() / f"dbmpi-chaos-{os.getpid()}-{scene.run_dir.parent.name}"


def _remove(scene: Scene, group: Path) -> None:
    """Remove a group; it is empty as soon as the kernel has buried the last process."""
    for _ in range(100):
        with suppress(OSError):
            group.rmdir()
            return
        scene.wait(0.05)
