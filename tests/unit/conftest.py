"""For all unit tests: examples of hypothesis may take their time, as the machine may be busy."""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings


def pytest_configure(config: pytest.Config) -> None:
    settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")


@pytest.fixture(scope="module", autouse=True)
def hangup() -> Iterator[None]:
    """A program that is alone ignores SIGHUP until it ends: tests of other modules do not."""
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)
