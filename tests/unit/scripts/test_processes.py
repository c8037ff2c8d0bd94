"""What a program leaves behind is found and killed."""

import sys
from pathlib import Path

from scripts import processes


def test_process_that_outlives_its_launcher_is_found_and_killed(monkeypatch):
    monkeypatch.setattr(processes, "GRACE_S", 0.5)
    code = "import subprocess, sys; subprocess.Popen(['sleep', '1000'], start_new_session=True)"
    finished = processes.run([sys.executable, "-c", code], timeout_s=10)
    assert finished.status == 0 and len(finished.survivors) == 1
    assert "sleep 1000" in finished.survivors[0]
    assert not Path(f"/proc/{finished.survivors[0].split(':')[0]}/exe").exists()
