"""For all unit tests: examples of hypothesis may take their time; each module finds the process as it was."""

import gc
import os
import signal
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from dbmpi.run.start.launch import OTHER_POOLS

HEARD = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGXCPU,
)


def pytest_configure(config: pytest.Config) -> None:
    settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")
    # As a program sets them that a test runs in this process: Numba bears no other number of threads later.
    os.environ.update(OTHER_POOLS)


@pytest.fixture(scope="module", autouse=True)
def left_as_it_was() -> Iterator[None]:
    """Undo what a program does to its own process: signals, environment, threads, frozen objects."""
    signals, environment = {one: signal.getsignal(one) for one in HEARD}, dict(os.environ)
    threads = sys.modules["kernels.jit"].threads() if "kernels.jit" in sys.modules else 1
    yield
    for one, before in signals.items():
        signal.signal(one, before)
    os.environ.clear()
    os.environ.update(environment)
    gc.unfreeze()
    if "kernels.jit" in sys.modules:
        sys.modules["kernels.jit"].set_threads(threads)
