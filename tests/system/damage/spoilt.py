"""What the tests of spoilt files share: to run all cases, and to tell of those that end wrong."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.system.conftest import Launch

SEED = int(os.environ.get("DBMPI_FUZZ_SEED", "2026"))
Result = dict[str, Any]


def number_of_cases(usual: int) -> int:
    """Return how many cases there are to be."""
    return int(os.environ.get("DBMPI_FUZZ_CASES", str(usual)))


def run(launch: Launch, directory: Path, cases: list[dict[str, Any]], timeout_s: float) -> list[Result]:
    """Run every case by spoil_worker.py, in a directory; return how each ended."""
    (directory / "cases.json").write_text(json.dumps(cases))
    done = launch(
        0, "cases.json", "results.json", module="tests.system.damage.spoil_worker", timeout=timeout_s
    )
    assert done.status == 0, done.err
    results: list[Result] = json.loads((directory / "results.json").read_text())
    return results


def assert_none_is_wrong(results: list[Result], fault: Callable[[Result], str], *names: str) -> None:
    """Assert that `fault` finds nothing; of each result that is wrong, tell these entries of its case."""
    faults = []
    for result in results:
        if wrong := fault(result):
            case = ", ".join(str(result["case"][name])[:300] for name in names)
            faults.append(f"{case}: {wrong}: {result['err'][-700:]}")
    assert not faults, f"seed {SEED}, {len(faults)} of {len(results)}\n" + "\n".join(faults[:20])
