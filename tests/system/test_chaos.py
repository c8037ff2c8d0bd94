"""Tries of `python scripts/chaos` in two sittings, from a fault to the report; of runs shorter than there."""

import json

from scripts.chaos import problem
from scripts.chaos.__main__ import main

SOME = [
    "kill",
    "stop",
    "--algorithm",
    "downpour",
    "--launcher",
    "plain",
    "--launcher",
    "mpich",
    "--seed",
    "4",
]
EPOCHS = 30


def test_tries_add_up_over_sittings_and_end_as_promised(environment, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(problem.EPOCHS, "downpour", EPOCHS)
    monkeypatch.setitem(problem.ALGORITHMS, "downpour", problem.portions(EPOCHS))
    out = tmp_path / "series.jsonl"
    for more in (["--tries", "1"], ["--tries", "2", "--jobs", "2"]):
        assert main([*SOME, *more, "--out", str(out)]) == 0, capsys.readouterr().out
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert sorted(line["try"] for line in lines) == [-1, 0, 1]  # before them one that nothing disturbs
    assert {line["verdict"] for line in lines} == {"as promised"}
    assert all(line["commit"] and line["statuses"][-1] == 0 and line["goodput"] > 0 for line in lines)
    for line in lines:  # what summary.json knows of all jobs, by their records, beside the clock outside
        assert 0.2 < line["applied_s"] / line["goodput"] / line["available_s"] <= 1.05
    assert "3 tries, 3 ended as promised\naims, of 2 disturbed and 1 undisturbed" in capsys.readouterr().out
