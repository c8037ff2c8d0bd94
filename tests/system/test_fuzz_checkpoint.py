"""Whatever becomes of checkpoints, a run goes on from one that is whole, or says why it cannot.

Each case is a copy of one run directory with its newest checkpoint spoilt, or every one. A run resumed there
leaves out what is spoilt, with a warning that names it, and goes on from the one before it; where there is
none it ends with status 2. `python -m dbmpi.checkpoint` says of each whether it is whole.

DBMPI_FUZZ_SEED and DBMPI_FUZZ_CASES make other cases, or more.
"""

from collections import Counter

import h5py
import numpy as np
import pytest

from tests.system.conftest import launch_in
from tests.system.damage import spoil_checkpoint, spoilt
from tests.system.damage.spoil_worker import arguments

SEED, CASES = spoilt.SEED, spoilt.number_of_cases(60)
TAKEN = ("checkpoint.every_examples=24", "checkpoint.keep=9", "checkpoint.best=false")


@pytest.fixture(scope="module")
def results(environment, tmp_path_factory):
    """How the resumed run, the listing and the showing of every case ended."""
    directory = tmp_path_factory.mktemp("fuzz")
    with h5py.File(directory / "data.h5", "w") as file:
        rng = np.random.default_rng(SEED)
        for name in ("train", "test"):
            file[f"{name}/x"], file[f"{name}/y"] = rng.random((48, 6), np.float32), rng.integers(0, 4, 48)
    launch = launch_in(environment, directory)
    argv = [*arguments(str(directory / "data.h5"), True, directory / "run"), *TAKEN]
    assert launch(0, *argv, "train.epochs=150").status == 0
    assert len(list((directory / "run" / "checkpoints").iterdir())) >= 3
    made = [spoil_checkpoint.make(SEED, number, directory / "run", directory) for number in range(CASES)]
    cases = []
    for case in made:
        more = arguments(str(directory / "data.h5"), True, case["run"])
        shown = [case["run"], "--show", str(int(case["newest"]))]
        for program, words in (
            ("dbmpi.checkpoint.listing", [case["run"]]),
            ("dbmpi.checkpoint.listing", shown),
            ("dbmpi.train", [*more, *TAKEN, "train.epochs=152", "--resume"]),
        ):
            cases.append({**case, "number": len(cases), "program": program, "argv": words})
    found = spoilt.run(launch, directory, cases, 120 + CASES * 1.5)
    ends = Counter(result["status"] for result in found[2::3])
    print(f"seed {SEED}: {CASES} cases, resumed runs by status {dict(ends)}")
    return found


def fault(result):
    """Return what is wrong with the way a program ended; nothing if it is right."""
    case, status, err = result["case"], result["status"], result["err"]
    if result["late"] or "Traceback" in err + result["out"] or status not in (0, 1, 2):
        return f"ends with status {status}"
    if case["program"] == "dbmpi.checkpoint.listing":
        told = result["out"].count("damaged: ") + err.count("dbmpi: error: ")
        return "" if status == 0 or told else "says nothing"
    warned = [line for line in err.splitlines() if line.startswith("dbmpi: warning: checkpoint ")]
    if case["every"]:
        return "" if status == 2 and err.count("dbmpi: error: ") == 1 else "goes on from what is spoilt"
    if status != 0 or case["newest"] not in " ".join(warned):
        return "does not go on from the one before"
    return ""


def test_spoilt_checkpoints_are_left_out(results):
    spoilt.assert_none_is_wrong(results, fault, "program", "run", "what")


def test_the_cases_are_of_all_kinds(results):
    ends = Counter(result["status"] for result in results[2::3])
    assert ends[0] > CASES / 3 and ends[2] > CASES / 10
