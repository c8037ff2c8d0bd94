"""What every pass shares: options, and the file of results that tests/runner.py reads.

This file and tests/mpi/conftest.py import nothing of the project: the runner's own tests use copies of them.
"""

import json
import os
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("dbmpi")
    group.addoption("--results", type=Path, help="append one JSON line per finished test to this file")
    group.addoption("--mpi-plan", type=Path, help="with --collect-only: write test -> rank counts here")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("results")
    rank = int(os.environ.get("OMPI_COMM_WORLD_RANK", os.environ.get("PMI_RANK", "0")))
    if path is not None and rank == 0 and not hasattr(config, "workerinput"):  # xdist's workers tell it
        config.pluginmanager.register(ResultFile(path))


class ResultFile:
    """Writes each outcome as soon as it is known, so that a killed pass has told what it had finished."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.outcomes: dict[str, str] = {}

    def write(self, nodeid: str, outcome: str) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"test": nodeid, "outcome": outcome}) + "\n")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if not report.passed:
            self.write(report.nodeid, report.outcome)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The worst of a test's phases (set-up, call, teardown) is its outcome."""
        severity = ["passed", "skipped", "failed"]
        known = self.outcomes.get(report.nodeid, "passed")
        self.outcomes[report.nodeid] = max(known, report.outcome, key=severity.index)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.write(nodeid, self.outcomes.pop(nodeid, "failed"))
