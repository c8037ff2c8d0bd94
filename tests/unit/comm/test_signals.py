"""Signals: noted once, by whichever rank; a second Ctrl-C ends the job at once."""

import os
import signal

import pytest

from dbmpi.comm import signals
from dbmpi.comm.signals import Signals
from dbmpi.config.sections import Train
from dbmpi.coordinator.stopping import Stopping
from dbmpi.errors import STATUS_STOPPED


@pytest.fixture
def detector():
    stops = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGXCPU)
    numbers = (*stops, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield Signals()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("name", ["TERM", "INT", "XCPU", "USR2", "ALRM"])
def test_a_signal_stops_the_run(detector, name):
    shown = []
    detector.install("USR2", shown.append)
    stopping = Stopping(Train(), detector)
    stopping.check_signals()
    assert not stopping.reason
    os.kill(os.getpid(), signal.Signals[f"SIG{name}"])
    stopping.check_signals()
    assert (stopping.reason, stopping.status, stopping.hasty) == ("signal", STATUS_STOPPED, True)
    assert not stopping.finished and detector.name == f"SIG{name}"
    assert len(shown) == (name in ("TERM", "INT"))  # which launchers pass on as they end


def test_a_signal_that_is_ignored_is_no_word_to_stop(detector):
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    detector.install("none")
    os.kill(os.getpid(), signal.SIGUSR1)
    assert not detector


def test_the_first_word_counts(detector):
    detector.note(signal.SIGUSR1)
    detector.note(signal.SIGTERM)
    assert detector.name == "SIGUSR1"


def test_a_second_interrupt_ends_the_job_unless_it_is_an_echo(detector, monkeypatch):
    now = 100.0
    monkeypatch.setattr(signals.time, "monotonic", lambda: now)
    detector.install("none")
    for seconds in (0.0, 0.5 * signals.ECHO_S):
        now = 100.0 + seconds
        os.kill(os.getpid(), signal.SIGINT)
    assert detector.name == "SIGINT"
    now = 100.0 + 2 * signals.ECHO_S
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)  # nothing comes of a third
