"""States of the right kinds that cannot be: of no portion, no vector, no history that was saved."""

import json
import re
from dataclasses import replace

import pytest

from dbmpi.checkpoint.run_state import RunState
from dbmpi.checkpoint.scheduler_state import settled
from dbmpi.checkpoint.state_limits import impossible
from dbmpi.typed import Unlike
from tests import ROOT
from tests.doubles.checkpoints import PLAN, ROWS, SCHEDULER, STATE

(BATCH,) = (ROOT / "tests" / "saved").glob("*/sandblaster/checkpoints/*/manifest.json")
PORTION = SCHEDULER.returned[0]
PLANS = [{"plan": replace(PLAN, replicas=replicas)} for replicas in (0, 10**6)]


def scheduler(**more):
    return impossible(
        replace(STATE, downpour=replace(STATE.downpour, scheduler=replace(SCHEDULER, **more))), ROWS, ()
    )


def batch(change):
    """Return what cannot be of a saved state of L-BFGS after a change."""
    said = json.loads(BATCH.read_text())
    vectors = list(said["state"]["sandblaster"]["vectors"])
    change(said["state"]["sandblaster"])
    return impossible(RunState.from_json(said["state"]), said["model"]["rows"], vectors)


def test_a_state_that_was_saved_can_be():
    assert scheduler() == "" and batch(lambda state: None) == ""
    assert scheduler(epoch=-1, left=(), returned=(), rests=(), outstanding=()) == ""


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"plan": replace(PLAN, rows=8)}, "a plan is of 8 rows"),
        ({"rests": (replace(PORTION, plan=replace(PLAN, rows=8)),)}, "a plan is of 8 rows"),
        ({"left": ((1, 2),)}, "ledger.left has 1 parts"),
        ({"left": ((1, 2), (0, 99))}, r"ledger.left[1]"),
        ({"left": ((2, 1), (0, 0))}, r"ledger.left[0]"),
        ({"epoch": -1}, "ledger.left has 2 parts"),
        ({"returned": (replace(PORTION, epoch=7),)}, "a portion is of an epoch after 1"),
        ({"epoch": 2**61}, "beyond 2147483647"),
        ({"rests": (PORTION,)}, "a portion is there twice"),
    ],
)
def test_what_a_scheduler_cannot_have(more, said):
    assert said in scheduler(**more)


@pytest.mark.parametrize(
    "change",
    [
        {"part": 2},
        {"index": 99},
        {"minibatches": 99},
        {"minibatches": 0},
        {"plan": replace(PLAN, replicas=0)},
    ],
)
def test_a_portion_that_no_plan_has_is_unlike(change):
    with pytest.raises(Unlike):
        settled(replace(SCHEDULER, rests=(replace(PORTION, **change),)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state["vectors"].append(99), "vectors are"),
        (lambda state: state.update(sample=2**61), "beyond 2147483647"),
        (lambda state: state["vectors"].pop(), "vectors are"),
        (lambda state: state["tally"]["won"].append(0), "tally"),
        (lambda state: state["method"]["kept"].append(state["method"]["kept"][0]), "pairs"),
        (lambda state: state["method"].update(kept=[1000]), "pairs"),
        (lambda state: state["method"]["products"].clear(), "products lacks"),
        (lambda state: [row.__setitem__(2, -1.0) for row in state["method"]["products"]], "curvature"),
        (
            lambda state: [row.__setitem__(2, float("nan")) for row in state["method"]["products"]],
            "curvature",
        ),
        (lambda state: state["optimizer"]["at"]["direction"]["terms"].append([1.0, 77]), r"\[77\] are used"),
    ],
)
def test_what_a_batch_method_cannot_have(change, said):
    assert re.search(said, batch(change))
