"""Runs of scenarios, and what the verdict says of their records."""

import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dbmpi.diagnosis.finding import Finding
from dbmpi.diagnosis.verdict import findings
from dbmpi.logs.run import open_run
from dbmpi.output.run_directory import CONFIG, METRICS, RUN, SUMMARY
from scripts import processes
from scripts.chaos.victims import by_rank
from scripts.diagnose.scenarios import Scenario
from scripts.diagnose.sets import MAKERS
from scripts.training_runs import AS_ROOT, launch

TIMEOUT_S = 90.0
PERIOD_S = 0.1  # of standing still and going on
VICTIM = 2  # the rank of the first replica, where there is one shard
ENDED = 0, 3  # statuses: as planned, or diverged


class Judged(NamedTuple):
    """What the verdict says of a run, and how many cores others kept busy beside it."""

    findings: list[Finding]
    beside: float


@dataclass(frozen=True)
class Workshop:
    """A folder for data and runs, and where their records are kept, if anywhere."""

    folder: Path
    keep: Path | None = None

    def judge(self, scenario: Scenario) -> "Judged":
        """Run a scenario, and judge its records.

        Raises
        ------
        SystemExit
            The run ends otherwise than by its end or by divergence.
        """
        with tempfile.TemporaryDirectory(dir=self.folder) as made:
            run_dir = Path(made) / "run"
            command = [
                *launch(scenario.ranks),
                sys.executable,
                "-m",
                "dbmpi.train",
                "--run-dir",
                str(run_dir),
            ]
            command += ["--set", f"data.path={json.dumps(self._data(scenario.data))}", *scenario.settings]
            during = _stopping(run_dir, scenario.stopped) if scenario.stopped else None
            before = _cpu_s()
            done = processes.run(command, timeout_s=TIMEOUT_S, env=AS_ROOT, during=during)
            all_s, own_s = (now - then for now, then in zip(_cpu_s(), before, strict=True))
            if done.timed_out or done.status not in ENDED:
                raise SystemExit(str(done))
            if self.keep is not None:
                _copy(run_dir, self.keep / re.sub(r"\W+", "-", f"{scenario.name} {scenario.strength}"))
            return Judged(findings(open_run(run_dir)), max(0.0, all_s - own_s) / done.wall_s)

    def _data(self, name: str) -> str:
        path = self.folder / f"{name}.h5"
        if not path.exists():
            MAKERS[name](path)
        return str(path)


def _cpu_s() -> tuple[float, float]:
    """Return CPU seconds so far: of the whole machine, and of what this program has run."""
    user, nice, system, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    own = os.times()
    return (user + nice + system) / os.sysconf("SC_CLK_TCK"), sum(own[:4])


def _copy(run_dir: Path, to: Path) -> None:
    """Copy what a run is judged by."""
    to.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG, RUN, METRICS, SUMMARY):
        if (run_dir / name).exists():
            shutil.copy(run_dir / name, to)


def said(found: Sequence[Finding]) -> dict[str, str]:
    """Return what is alarmed about and how badly, the worst first."""
    alarms = dict[str, str]()
    for one in found:
        if one.alarms:
            alarms.setdefault(one.about, one.severity)
    return alarms


def _stopping(run_dir: Path, share: float) -> Callable[[Callable[[], list[int]]], None]:
    """Return what lets one replica stand still for a share of each period of training."""

    def disturb(living: Callable[[], list[int]]) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline and not (run_dir / "metrics.jsonl").exists():
            time.sleep(0.05)
        pid = by_rank(living()).get(VICTIM)
        while (
            pid is not None
            and not (run_dir / "summary.json").exists()
            and processes.send(signal.SIGSTOP, [pid])
        ):
            time.sleep(share * PERIOD_S)
            processes.send(signal.SIGCONT, [pid])
            time.sleep((1 - share) * PERIOD_S)

    return disturb
