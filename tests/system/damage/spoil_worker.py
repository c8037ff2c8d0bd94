"""Run programs, serially, on one spoilt file after another, each in a process of its own.

    python -m tests.system.damage.spoil_worker CASES.json RESULTS.json

A child is forked for each file when everything is imported and the kernels are loaded: a crash of the HDF5
library ends the child alone and is seen as a signal, a hang is ended by a deadline.
"""

import importlib
import json
import os
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dbmpi import train
from tests.system.damage.spoil import CLASSES

DEADLINE_S = float(os.environ.get("DBMPI_FUZZ_DEADLINE_S", "10"))
MEMORY = 8 << 30  # bytes of addresses: an absurd size must not take the machine's memory
MODERATE = 1e4  # inputs and targets up to this cause no gradient that overflows
TINY = ("train.epochs=1", "train.minibatch=8", "output.progress=none", "cluster.threads=1")
NETWORK = (
    'model.layers=[{type="dense",units=5,activation="tanh"},{type="dense",units=4,activation="identity"}]'
)


def arguments(path: str, labels: bool, run: str | Path) -> list[str]:
    """Return the command line of a tiny run."""
    loss = "softmax" if labels else "squared"
    return ["--run-dir", str(run), "--set", f"data.path={path}", NETWORK, f"model.loss={loss}", *TINY]


def child(case: dict[str, Any], out: Path) -> int:
    """Train in this process, which is to end with the status that is returned."""
    with (out / "err").open("w") as err, (out / "out").open("w") as text:
        os.dup2(err.fileno(), 2)
        os.dup2(text.fileno(), 1)
    # The names of Python's own streams stay: they write to descriptors 1 and 2.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        status = run(case, out / "run")
    except BaseException:
        traceback.print_exc()
        status = 99
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def run(case: dict[str, Any], directory: Path) -> int:
    """Run the program of a case, by default the training program, and look at what that accepted."""
    if "argv" in case:
        return int(importlib.import_module(case["program"]).main(case["argv"]))
    status = train.main(arguments(case["path"], case["labels"], directory))
    if status == 0:
        check_sound(Path(case["path"]), case["labels"], directory)
    if status == 0 and case["original"] and not same(case["path"], case["original"]):
        raise AssertionError("accepted, but other values than were written")
    return status


def check_sound(path: Path, labels: bool, run: Path) -> None:
    """Assert, without the code under test, that an accepted file is valid, and the results finite."""
    with h5py.File(path, "r") as file:
        shapes, extreme = set(), False
        for name in ("train", "test"):
            x, y = file[name]["x"], file[name]["y"]
            assert len(x) == len(y) > 0 and x.dtype.kind in "uf"
            shapes.add(x.shape[1:])
            # What gradients are refused for is either too large, or a fault.
            extreme |= bool(np.abs(x[...].astype("f8")).max() > MODERATE)
            assert np.isfinite(x[...].astype("f8")).all()
            values = y[...]
            extreme |= bool(np.abs(values.astype("f8")).max() > MODERATE)
            assert (values.dtype.kind in "iu") is labels
            assert (values.min() >= 0 and values.max() < CLASSES) if labels else np.isfinite(values).all()
        assert len(shapes) == 1
    found = json.loads((run / "summary.json").read_text())
    assert np.isfinite(found["test_loss"]) and (extreme or found["refused"]["not_finite"] == 0), found
    with h5py.File(run / "model.h5") as model:
        model.visititems(lambda name, item: _assert_finite(item))


def _assert_finite(item: Any) -> None:
    if isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
        assert np.isfinite(item[...]).all(), item.name


def same(path: str, original: str) -> bool:
    """Return whether two files hold the same examples."""
    with h5py.File(path, "r") as one, h5py.File(original, "r") as two:
        return all(
            np.array_equal(one[name][key][...], two[name][key][...]) and dict(one[name][key].attrs) ==
            dict(two[name][key].attrs)
            for name in ("train", "test")
            for key in ("x", "y")
        )  # fmt: skip


def attempt(case: dict[str, Any], out: Path) -> dict[str, Any]:
    """Fork a child for a case, wait for it, and return how it ended."""
    out.mkdir()
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os._exit(child(case, out))
    wait_status, late = wait(pid, started + DEADLINE_S)
    return {
        "case": case,
        "status": os.waitstatus_to_exitcode(wait_status),
        "late": late,
        "err": (out / "err").read_text(errors="replace") if (out / "err").exists() else "",
        "out": (out / "out").read_text(errors="replace") if (out / "out").exists() else "",
        "wall_s": time.monotonic() - started,
    }


def wait(pid: int, deadline: float) -> tuple[int, bool]:
    """Wait for a process until the deadline, then end it; return its wait status and whether it was late."""
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status, False
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1], True


def warm(directory: Path) -> None:
    """Import and compile what all children need, by whole runs."""
    for labels in (True, False):
        path = directory / f"warm{labels}.h5"
        with h5py.File(path, "w") as file:
            for name in ("train", "test"):
                file[f"{name}/x"] = np.zeros((48, 6), np.float32)
                file[f"{name}/y"] = np.zeros(48, int) if labels else np.zeros((48, CLASSES), np.float32)
        status = train.main(arguments(str(path), labels, directory / f"warm-run{labels}"))
        assert status == 0, status


def main(argv: list[str]) -> int:
    """Run all cases, and write what became of each."""
    cases = json.loads(Path(argv[0]).read_text())
    results, directory = Path(argv[1]), Path(argv[1]).parent
    warm(directory)
    done = [attempt(case, directory / f"out{case['number']}") for case in cases]
    results.write_text(json.dumps(done))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
