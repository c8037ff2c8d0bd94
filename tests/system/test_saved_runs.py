"""Runs that an earlier version has left are listed, shown, read and gone on with: `tests/saved/VERSION/RUN`.

What each of them must hold is in its own files: the manifests, summary.json and metrics.jsonl as they were
written then. These files are never written anew.
"""

import json
import shutil

import numpy as np
import pytest

from tests import ROOT
from tests.system.reading import QUIET, messages, parameters, records, summary

pytestmark = pytest.mark.beside

SAVED = sorted((ROOT / "tests" / "saved").glob("*/*/"))
UNFINISHED = [path for path in SAVED if not (path / "finished").exists()]
SERIAL = ("cluster.shards=auto", "cluster.replicas=auto", "cluster.partitions=auto")
ON_FOUR_RANKS = ("cluster.shards=1", "cluster.replicas=2", "cluster.partitions=1")
SHORT = "train.max_time=0.3"


def name(path):
    return f"{path.parent.name}-{path.name}"


@pytest.fixture
def run(request, tmp_path):
    """A copy of a saved run, which the test may change."""
    shutil.copytree(request.param, tmp_path / "run")
    return tmp_path / "run"


def each(paths):
    return pytest.mark.parametrize("run", paths, ids=name, indirect=True)


def manifests(run):
    """Return what the checkpoints of a run say of themselves, the oldest first."""
    return [json.loads(path.read_text()) for path in sorted(run.glob("checkpoints/*/manifest.json"))]


def test_there_are_saved_runs():
    assert {path.name for path in UNFINISHED} == {"downpour", "sandblaster"}
    assert {path.name for path in SAVED} == {"downpour", "finished", "sandblaster"}


@each(SAVED)
def test_the_checkpoints_are_listed_and_whole(launch, run):
    listed = launch(0, run, module="dbmpi.checkpoint")
    lines = listed.out.splitlines()[1:]
    assert listed.status == 0 and len(lines) == len(manifests(run)) > 0
    for line, said in zip(lines, manifests(run), strict=True):
        number, _, algorithm, examples = line.split()[:4]
        assert (int(number), algorithm) == (said["number"], said["algorithm"])
        assert int(examples.replace(",", "")) == said["state"]["book"]["examples"]
        assert ", whole" in line


@each(SAVED)
def test_a_checkpoint_is_shown(launch, run):
    said = manifests(run)[-1]
    shown = launch(0, run, "--show", said["number"], module="dbmpi.checkpoint")
    assert shown.status == 0
    book = said["state"]["book"]
    assert f"{book['examples']:,} examples, {book['step']:,} minibatches" in shown.out
    assert f"{book['elapsed_s']:.1f} s of training; score {said['score']}" in shown.out
    assert said["configuration"] in shown.out
    for tensor, shape in said["model"]["tensors"].items():
        assert f"  {tensor}  {tuple(shape)}  {said['model']['dtype']}" in shown.out


@each(SAVED)
def test_the_model_can_be_read(run):
    shapes = manifests(run)[-1]["model"]["tensors"]
    found = parameters(run)
    assert {tensor: list(values.shape) for tensor, values in found.items()} == shapes
    assert all(np.isfinite(values).all() for values in found.values())


@each(UNFINISHED)
@pytest.mark.parametrize(("ranks", "cluster"), [(0, SERIAL), (4, ON_FOUR_RANKS)])
def test_a_run_goes_on_and_counts_on(launch, run, ranks, cluster):
    said, before = manifests(run)[-1], len(records(run))
    examples = said["state"]["book"]["examples"]
    done = launch(ranks, run / "config.toml", "--run-dir", run, *QUIET, *cluster, SHORT)
    assert done.status in (0, 85) and messages(done) == []
    text = f"goes on from checkpoint {said['number']}, after {examples:,} examples"
    assert text in done.out
    added = records(run)[before:]
    assert (added[0]["kind"], added[0]["began"]) == ("job", True)
    assert added[1]["kind"] == "event" and added[1]["text"] == text
    assert all(record["examples"] >= examples for record in added)
    assert summary(run)["examples"] > examples
    assert manifests(run)[-1]["number"] > said["number"]
    assert manifests(run)[-1]["state"]["book"]["examples"] == summary(run)["examples"]


@each([path for path in SAVED if path not in UNFINISHED])
def test_a_run_that_has_ended_learns_more_if_it_may(launch, run):
    examples = summary(run)["examples"]
    settings = (*QUIET, *SERIAL, "train.epochs=12", "downpour.overlap=false")
    done = launch(0, run / "config.toml", "--run-dir", run, *settings)
    assert done.status == 0 and messages(done) == []
    assert summary(run)["examples"] == 12 * manifests(run)[0]["model"]["rows"] > examples
