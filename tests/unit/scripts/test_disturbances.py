"""What befalls ranks: they are met when they are there, killed, stopped, woken; here plain processes are."""

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from scripts.chaos import disturbances, links
from scripts.chaos.scene import Scene
from scripts.chaos.shapes import Shape

RANK = 3


@pytest.fixture
def processes():
    """Return a list of processes; those in it are ended."""
    started: list[subprocess.Popen] = []
    yield started
    for one in started:
        one.kill()
        one.wait()


def start(processes, program="import time; time.sleep(60)"):
    """Start a rank."""
    env = {**os.environ, "OMPI_COMM_WORLD_RANK": str(RANK)}
    processes.append(subprocess.Popen([sys.executable, "-c", program], env=env))
    return processes[-1]


def scene(tmp_path, act, after_s=0.0):
    shape, draw = Shape(2, 2, 1), random.Random(1)
    return Scene(tmp_path / "run", shape, [RANK], after_s, 0.0, 0.5, draw, act)


def living(processes):
    return lambda: [one.pid for one in processes if one.poll() is None]


def state(process):
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_rank_is_met_as_soon_as_it_is_there(tmp_path, processes):
    launcher = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    processes.append(launcher)
    met = scene(tmp_path, disturbances.kill)
    threading.Timer(0.3, start, [processes]).start()
    met(living(processes))
    assert processes[1].wait(10) == -9 and launcher.poll() is None
    assert met.phases == ["launch"] and met.hit_s >= 0.3 and met.began_s is None


def test_the_phases_are_told_apart(tmp_path, processes):
    start(processes)
    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.jsonl").write_text("{}\n")
    met = scene(tmp_path, lambda this: (run / "summary.json").touch() or this.settle())
    met(living(processes))
    assert met.phases == ["training", "end"] and met.began_s is not None
    gone = scene(tmp_path, disturbances.kill)
    gone(lambda: [])
    assert gone.phases == ["over"]


@pytest.mark.parametrize("act", [disturbances.pause((0.2, 0.4)), disturbances.suspend])
def test_what_is_stopped_is_woken(tmp_path, processes, act):
    rank, seen = start(processes), set()
    watch = threading.Thread(target=scene(tmp_path, act), args=[living(processes)])
    watch.start()
    while watch.is_alive():
        seen.add(state(rank))
        time.sleep(0.01)
    assert "T" in seen and state(rank) != "T" and rank.poll() is None


@pytest.mark.skipif(bool(disturbances.no_memory_groups()), reason=disturbances.no_memory_groups())
def test_a_rank_without_memory_is_killed_by_the_kernel(tmp_path, processes):
    rank = start(
        processes, "import time\nsome = []\nwhile True: some.append(bytearray(1 << 16)); time.sleep(1e-3)"
    )
    met = scene(tmp_path, disturbances.out_of_memory, after_s=0.3)
    met(living(processes))
    assert rank.wait(10) == -9 and met.notes == []
    assert not list(disturbances.group_place().glob("dbmpi-chaos-*"))


def test_hosts_that_cannot_be_made_are_told(monkeypatch):
    links.no_namespaces.cache_clear()
    monkeypatch.setenv("PATH", "/nowhere")
    assert "no network namespaces" in links.no_namespaces()
    links.no_namespaces.cache_clear()
