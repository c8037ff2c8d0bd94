"""Whatever a data file holds, the program ends soon: refuses it with one message, or learns from valid data.

Each case is one file, spoilt by tests/system/spoil_bytes.py or spoil_content.py, on which the serial training
program runs. It may end in these ways alone:

* refused: status 2 and one message, which names the file and a remedy;
* accepted: status 0, of a file whose every value is finite and whose every label has a unit, as h5py alone
  reads it, with finite loss and parameters; if its every byte has a checksum, its values are the original's;
* diverged: status 3 and one message; only where spoilt numbers are too large to learn from.

DBMPI_FUZZ_SEED and DBMPI_FUZZ_CASES make other cases, or more.
"""

import re
from collections import Counter

import pytest

from tests.system.conftest import launch_in
from tests.system.damage import spoil, spoilt

SEED, CASES = spoilt.SEED, spoilt.number_of_cases(250)
SLOWEST_S = 10.0  # of a case; the worker ends it then
REMEDY = re.compile(
    "check|change|copy|docs/data.md|give|leave|lower|make|map|name|number|put|replace|reshape|start|store|write"
)
ENDS = {0: "accepted", 2: "refused", 3: "diverged"}


@pytest.fixture(scope="module")
def results(environment, tmp_path_factory):
    """How every case ended."""
    directory = tmp_path_factory.mktemp("fuzz")
    cases = [spoil.make(SEED, number, directory).plain() for number in range(CASES)]
    found = spoilt.run(launch_in(environment, directory), directory, cases, 120 + CASES * 0.5)
    print(f"seed {SEED}: {CASES} cases, {dict(Counter(ENDS.get(r['status'], 'fault') for r in found))}, "
          f"slowest {max(r['wall_s'] for r in found):.2f} s")  # fmt: skip
    return found


def fault(result):
    """Return what is wrong with the way a case ended; nothing if it is right."""
    case, status, err = result["case"], result["status"], result["err"]
    if result["late"] or result["wall_s"] > SLOWEST_S:
        return "hangs"
    if status not in ENDS or "Traceback" in err + result["out"]:
        return f"ends with status {status}"
    if ENDS[status] != {"refuse": "refused", "accept": "accepted"}.get(case["must"], ENDS[status]):
        return f"should have been {case['must']}d"
    lines = [line for line in err.splitlines() if line.startswith("dbmpi: ")]
    told = [line for line in lines if not line.startswith("dbmpi: warning: ")]
    if len(told) != (status != 0):
        return f"tells {len(told)} messages"
    if status == 2 and not (case["path"] in told[0] and REMEDY.search(told[0].partition(case["path"])[2])):
        return "names no place, or no remedy"
    return ""


def test_every_spoilt_file_is_refused_or_sound(results):
    spoilt.assert_none_is_wrong(results, fault, "number", "what")


def test_the_cases_are_of_all_kinds(results):
    ends = Counter(result["status"] for result in results)
    assert ends[0] > CASES / 20 and ends[2] > CASES / 2 and ends[3] <= CASES / 100
    kinds = {result["case"]["what"].split()[0] for result in results}
    wanted = (*spoil.spoil_bytes.SPOILERS, *spoil.spoil_content.REFUSED, *spoil.spoil_content.ACCEPTED)
    assert CASES < 400 or kinds == {spoiler.__name__ for spoiler in wanted}


def test_a_message_during_the_run_is_one_too(results):
    """Of values that are not finite, most are found only as their rows are read."""
    during = [r["err"] for r in results if "rank 0 (serial)" in r["err"]]
    told = [err for err in during if re.search(r": (train|test)/[xy] holds .* in row \d+, column \d+: ", err)]
    assert CASES < 400 or told


def test_the_worker_sees_a_crash(results):
    """A child that dies of a signal, as of a fault in the HDF5 library, counts as a fault."""
    assert fault({**results[0], "status": -11, "late": False})
    assert fault({**results[0], "late": True})
