"""Peak memory of each role, beside what --dry-run says.

Less that of a rank of the same role with a tiny network, that of the embedded digits. Runs of the speech
network: serial; 2 replicas; 1 replica of 2 partitions. The peak is the kernel's VmHWM of the process; of a
shard without its RssShmem, the memory of partitions that it maps. The coordinator holds no parameters: it has
no ratio.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from scripts import processes
from scripts.bench import runs
from scripts.bench.core import Aim, Group, Options, Row, Turn
from scripts.bench.runs import SPEECH
from scripts.training_runs import AS_ROOT, launch

POLL_S = 0.02
LIMIT_S = 200
STEPS = 12
UNITS = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9}
TOTAL = re.compile(r"^(all|coordinator|shard \d+|partition \d+)\b.* ([\d.,]+) (B|kB|MB|GB)$")
MEMORY = re.compile(r"^(VmHWM|RssShmem):\s+(\d+) kB$", re.MULTILINE)
RANK_VARIABLES = ("OMPI_COMM_WORLD_RANK", "PMI_RANK")
CASES = {
    "serial": (1, 1, 1),
    "2 replicas": (4, 2, 1),
    "2 partitions": (4, 1, 2),
}  # ranks, replicas, partitions
ROUNDS = 1  # it hardly varies


class Peak(NamedTuple):
    """The largest memory of a process, and how much of it others map too, in bytes."""

    whole: int
    shared: int


def groups(options: Options) -> Iterator[Group]:
    """Yield the roles of each kind of run."""
    for name, (ranks, replicas, partitions) in CASES.items():
        roles = ["shard 0", *(f"partition {p}" for p in range(partitions))] if ranks > 1 else ["all"]
        rows = [
            Row(
                f"{name}, {role}", f"{role} peak", "bytes", (f"{role} dry run",), Aim(at_most=1.1), lower=True
            )
            for role in roles
        ]
        rows += [Row(f"{name}, coordinator", "coordinator peak", "bytes")] if ranks > 1 else []
        cluster = [f"cluster.replicas={replicas}", f"cluster.partitions={partitions}"]
        yield Group(f"memory {name}", {"run": turn(options, ranks, partitions, cluster)}, rows)


def turn(options: Options, ranks: int, partitions: int, cluster: Sequence[str]) -> Turn:
    """Return a turn: the bytes of each role, measured and as the dry run says."""

    def take() -> Mapping[str, float]:
        file = runs.data(options.folder, SPEECH.shape, SPEECH.classes, 4000)
        asked = [
            *cluster,
            "cluster.shards=1",
            "cluster.threads=1",
            f"train.steps={STEPS}",
            "train.epochs=none",
        ]
        speech = [f"data.path={json.dumps(str(file))}", *SPEECH.settings, "train.minibatch=100", *asked]
        peaks, idle = (peak_of_roles(options.folder, ranks, partitions, one) for one in (speech, asked))
        found = {f"{role} peak": float(peaks[role] - idle[role]) for role in peaks}
        return found | {f"{role} dry run": size for role, size in dry_run(ranks, speech).items() if size}

    return take


def dry_run(ranks: int, settings: Sequence[str]) -> dict[str, float]:
    """Return the bytes that --dry-run gives as the total of each role."""
    command = [sys.executable, *runs.PROGRAM, "--dry-run", "--ranks", str(ranks), "--set", *settings]
    said = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout
    found = [TOTAL.match(line.rstrip()) for line in said.splitlines()]
    return {m[1]: float(m[2].replace(",", "")) * UNITS[m[3]] for m in found if m}


def peak_of_roles(folder: Path, ranks: int, partitions: int, settings: Sequence[str]) -> dict[str, int]:
    """Train once; return the largest peak of each role, in bytes."""
    peaks: dict[int, Peak] = {}
    with tempfile.TemporaryDirectory(dir=folder) as run_dir:
        words = [sys.executable, *runs.PROGRAM, "--run-dir", run_dir, "--set", *runs.QUIET, *settings]
        done = processes.run(
            [*launch(ranks), *words], timeout_s=LIMIT_S, env=AS_ROOT, during=partial(watch, peaks, ranks == 1)
        )
    if done.status != 0:
        raise RuntimeError(str(done))
    roles: dict[str, int] = {}
    for rank, peak in peaks.items():
        name = role(rank, ranks, partitions)
        own = peak.whole - (peak.shared if name.startswith("shard") else 0)
        roles[name] = max(own, roles.get(name, 0))
    return roles


def role(rank: int, ranks: int, partitions: int) -> str:
    """Return the role of a rank of a run with one shard, as the dry run names it."""
    if ranks == 1:
        return "all"
    return {0: "coordinator", 1: "shard 0"}.get(rank, f"partition {(rank - 2) % partitions}")


def watch(peaks: dict[int, Peak], serial: bool, living: Callable[[], list[int]]) -> None:
    """Look at the peak of each rank, again and again until none is left: it is gone with the process."""
    deadline, seen = time.monotonic() + LIMIT_S, False
    while time.monotonic() < deadline:
        now = living()
        if seen and not now:
            return
        seen = seen or bool(now)
        for pid in now:
            _look(pid, peaks, serial)
        time.sleep(POLL_S)


def _look(pid: int, peaks: dict[int, Peak], serial: bool) -> None:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # gone meanwhile
        return
    ranks = [text for one in environment for name, _, text in [one.partition("=")] if name in RANK_VARIABLES]
    found = {name: int(kib) * 1024 for name, kib in MEMORY.findall(status)}
    if len(found) == len(Peak._fields) and (ranks or serial):
        rank = int(ranks[0]) if ranks else 0
        before = peaks.get(rank, Peak(0, 0))
        peaks[rank] = Peak(max(before.whole, found["VmHWM"]), max(before.shared, found["RssShmem"]))
