"""Where the runs are made: a folder with the library, a small data file, and what undisturbed runs hold."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

import h5py

from scripts import launcher, processes
from scripts.chaos.failing import audit, preload

TIMEOUT_S, ROWS, TEST_ROWS = 120.0, 640, 128
EPOCHS, EARLIER = 3, 2  # of the run, and of the earlier job that a resumed one goes on from
# Small minibatches: a checkpoint is on disk long before the next is due, so runs make the same calls.
SETTINGS = [
    "train.minibatch=1",
    "downpour.schedule.warmup_epochs=0",  # runs of all lengths go the same way
    "train.portion=160",
    f"checkpoint.every_examples={ROWS}",
    "checkpoint.keep=2",
    "checkpoint.best=false",
    "output.progress=none",
    "output.every_s=0.1",
    "cluster.threads=1",
    "cluster.timeout_s=20",
    "cluster.partitions=1",
]
STEPS = EPOCHS * ROWS
SHAPES = {"serial": (0, 1), "2 shards": (4, 2), "2 replicas": (4, 1)}  # ranks (0: no launcher), shards


def make_data(path: Path) -> None:
    """Write a small data file: some of the embedded digits."""
    source = launcher.ROOT / "dbmpi" / "data" / "digits.h5"
    with h5py.File(source, "r") as digits, h5py.File(path, "w") as out:
        for name, rows in (("train", ROWS), ("test", TEST_ROWS)):
            for kind in ("x", "y"):
                made = out.create_dataset(f"{name}/{kind}", data=digits[name][kind][:rows])
                made.attrs.update(digits[name][kind].attrs)


@dataclass
class Laboratory:
    """Makes runs in a folder; SystemExit where there is no compiler or no MPI."""

    folder: Path
    _known: dict[int, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        found = launcher.this_environment()
        if found is None:
            raise SystemExit("needs an MPI: no mpiexec in this environment or on the PATH")
        self._environment, self._library = found, preload.build(self.folder)
        self.data = self.folder / "data.h5"
        make_data(self.data)

    def run(self, shape: str, run: Path, *settings: str, **told: object) -> processes.Finished:
        """Run the program once, under the library; `told` as `preload.under`, `settings` for --set."""
        ranks, shards = SHAPES[shape]
        places = {"run": run, "data": self.data}
        program = [*preload.under(self._library, places, **told), str(self._environment.python)]
        program += ["-m", "dbmpi.train", "--run-dir", str(run), "--set", *SETTINGS]
        program += [f"data.path={self.data}", f"cluster.shards={shards}", f"train.epochs={EPOCHS}", *settings]
        if ranks:
            program = [*self._environment.mpiexec(ranks), *program]
        compiled = {"PYTHONDONTWRITEBYTECODE": None, "PYTHONPYCACHEPREFIX": str(self.folder / "compiled")}
        shared = {"OMPI_MCA_btl_sm_backing_directory": str(self.folder)}  # a job that ends early leaves files
        changes = {"PYTHONPATH": str(launcher.ROOT), **compiled, **shared, **self._environment.variables()}
        return processes.run(program, timeout_s=TIMEOUT_S, env=changes, cwd=self.folder)

    def digest_after(self, steps: int) -> str:
        """Return the checksum of an undisturbed run's vectors after so many minibatches."""
        with self._lock:
            if steps not in self._known:
                self._known[steps] = self._calculate(steps)
            return self._known[steps]

    def _calculate(self, steps: int) -> str:
        run = self.folder / f"reference-{steps}"
        done = self.run("serial", run, f"train.steps={steps}")
        newest = next((found for _, found in audit.checkpoints(run)), None)
        if done.status or not isinstance(newest, audit.Saved) or newest.steps != steps:
            raise SystemExit(f"the undisturbed run of {steps} minibatches is not as it should be: {done}")
        return newest.digest
