"""The verdict on real runs, of which it is known what was done to them."""

import shutil

import pytest

from dbmpi.diagnosis.finding import SEVERITIES
from dbmpi.diagnosis.verdict import findings
from dbmpi.logs.run import open_run
from tests import ROOT

RECORDED = ROOT / "tests" / "unit" / "diagnosis" / "recorded"
SAVED = ROOT / "tests" / "saved" / "0.1.0"
ILL = {
    "crowded": {"cores"},
    "input-and-rate": {"input", "rate"},
    "shard-bound": {"shards"},
    "slow-and-stale": {"slow_replica", "staleness"},
    "slow-replica": {"slow_replica"},
    "stale": {"staleness"},
}
SPOILT = {"learning", "rate"}  # what old gradients do shows there too


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*/")), ids=lambda path: path.name)
def test_what_was_done_to_a_run_is_said_and_nothing_else(path):
    found = findings(open_run(path))
    alarms = {one.about for one in found if one.alarms}
    expected = ILL.get(path.name, set())
    assert expected <= alarms
    assert alarms - expected <= (SPOILT if {"staleness", "rate"} & expected else set())
    assert path.name in ILL or path.name.startswith("healthy")


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*/")), ids=lambda path: path.name)
def test_findings_are_sentences_with_figures_worst_first(path):
    found = findings(open_run(path))
    assert [one.rank for one in found] == sorted(one.rank for one in found)
    for one in found:
        assert one.text.endswith(".") and one.figure and one.severity in SEVERITIES, one
        assert one.remedy or not one.alarms, one
        assert "nan" not in (one.text + one.figure).split(), one


@pytest.mark.parametrize("name", ["downpour", "sandblaster", "finished"])
def test_runs_of_the_first_version_give_what_they_can(name):
    found = findings(open_run(SAVED / name))
    assert not [one for one in found if one.alarms]
    assert {"learning"} <= {one.about for one in found}


@pytest.mark.parametrize("lines", [0, 1, 2, 5])
def test_a_run_that_has_just_begun_has_too_little(tmp_path, lines):
    shutil.copytree(RECORDED / "slow-replica", tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    records = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "run" / "metrics.jsonl").write_text("".join(records[:lines]))
    found = findings(open_run(tmp_path / "run"))
    assert any("too little" in one.text for one in found)
    assert not [one for one in found if one.alarms]


def test_a_run_under_way_is_judged_by_what_there_is(tmp_path):
    shutil.copytree(RECORDED / "slow-replica", tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    records = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "run" / "metrics.jsonl").write_text("".join(records[:-3]) + records[-1][:20])
    assert "slow_replica" in {one.about for one in findings(open_run(tmp_path / "run")) if one.alarms}
