"""What a program leaves behind is found and killed."""

import os
import signal
import sys
from pathlib import Path

import pytest

from scripts import processes


def test_process_that_outlives_its_launcher_is_found_and_killed(monkeypatch):
    monkeypatch.setattr(processes, "GRACE_S", 0.5)
    code = "import subprocess, sys; subprocess.Popen(['sleep', '1000'], start_new_session=True)"
    finished = processes.run([sys.executable, "-c", code], timeout_s=10)
    assert finished.status == 0 and len(finished.survivors) == 1
    assert "sleep 1000" in finished.survivors[0]
    assert not Path(f"/proc/{finished.survivors[0].split(':')[0]}/exe").exists()


def test_a_signal_to_this_program_ends_what_it_has_started():
    seen = []

    def interrupt(living):
        seen.extend(living())
        os.kill(os.getpid(), signal.SIGTERM)

    code = "import subprocess; subprocess.run(['sleep', '1000'], start_new_session=True)"
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(processes.Ended, match="SIGTERM") as ended, processes.ended_in_order():
        processes.run([sys.executable, "-c", code], timeout_s=60, during=interrupt)
    assert ended.value.status == 143 and signal.getsignal(signal.SIGTERM) == before
    assert seen and not any(Path(f"/proc/{pid}/exe").exists() for pid in seen)


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with processes.ended_in_order():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
