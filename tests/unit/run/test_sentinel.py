"""Ranks that die while MPI starts, as seen from outside: by the number of the launcher's processes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dbmpi.run.start import sentinel
from dbmpi.run.start.sentinel import await_death

LAUNCHER, RANKS = 9, 3


class Host:
    """Processes, as /proc shows them; at each look those of `coming` come, then those of `going` go."""

    def __init__(self, proc: Path, launcher: str) -> None:
        self.proc, self.looks = proc, 0
        self.coming, self.going = list[int](), dict[int, Callable[[], None]]()
        self.add(LAUNCHER, launcher, 1)

    def add(self, pid: int, name: str = "python", parent: int = LAUNCHER, state: str = "S") -> None:
        (self.proc / str(pid)).mkdir(exist_ok=True)
        (self.proc / str(pid) / "stat").write_text(f"{pid} ({name} )) {state} {parent} 1 1\n")
        (self.proc / str(pid) / "comm").write_text(f"{name}\n")

    def sleep(self, seconds: float) -> None:
        self.looks += 1
        if self.coming:
            self.add(self.coming.pop(0))
        self.going.pop(self.looks, lambda: None)()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path, "prterun")
    monkeypatch.setattr(sentinel.time, "sleep", made.sleep)
    made.add(50, "python", 1)  # of somebody else
    return made


def test_one_that_dies_is_missed_a_while_later(host: Host) -> None:
    for pid in (11, 12, 13):
        host.add(pid)
    host.going[100] = lambda: host.add(12, state="Z")
    assert await_death(LAUNCHER, RANKS, 5.0, host.proc) == 2
    assert host.looks == 100 + 5.0 / sentinel.LOOK_S


def test_one_that_has_died_before_is_missed_when_no_more_come(host: Host) -> None:
    host.add(11)
    host.coming = [12]
    assert await_death(LAUNCHER, RANKS, 5.0, host.proc) == 2
    assert host.looks == 2 + 5.0 / sentinel.LOOK_S


def test_a_slow_launcher_is_waited_for(host: Host) -> None:
    host.coming = [11, 12, 13]
    host.going[100] = lambda: host.add(LAUNCHER, "bash", 1)  # it has ended, and another has its number
    assert await_death(LAUNCHER, RANKS, 0.9, host.proc) is None and host.looks == 100
