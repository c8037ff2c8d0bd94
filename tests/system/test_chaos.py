"""Two tries of `python scripts/chaos`, in two sittings: the command itself, from a fault to the report."""

import json
import subprocess
import sys

from tests import ROOT

CHAOS = [sys.executable, ROOT / "scripts" / "chaos"]
SOME = ["kill", "stop", "--algorithm", "downpour", "--launcher", "plain", "--seed", "4"]


def test_tries_add_up_over_sittings_and_end_as_promised(environment, tmp_path):
    out = tmp_path / "series.jsonl"
    for count in ("1", "2", "2"):
        command = [*CHAOS, *SOME, "--tries", count, "--out", out]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert sorted(line["try"] for line in lines) == [-1, 0, 1]  # before them one that nothing disturbs
    assert {line["verdict"] for line in lines} == {"as promised"}
    assert all(line["commit"] and line["statuses"][-1] == 0 and line["goodput"] > 0 for line in lines)
    for line in lines:  # what summary.json knows of all jobs, by their records, beside the clock outside
        assert 0.2 < line["applied_s"] / line["goodput"] / line["available_s"] <= 1.05
    told = subprocess.run([*CHAOS, "report", out], capture_output=True, text=True, timeout=60).stdout
    assert "3 tries, 3 ended as promised" in told
