"""States of the right kinds that cannot be: of no portion, no vector, no history that was saved."""

import json
import re
from dataclasses import replace

import pytest

from dbmpi.checkpoint.run_state import RunState
from dbmpi.checkpoint.state_limits import impossible
from tests import ROOT
from tests.doubles.checkpoints import PLAN, ROWS, SCHEDULER, STATE

(BATCH,) = (ROOT / "tests" / "saved").glob("*/sandblaster/checkpoints/*/manifest.json")
PORTION = SCHEDULER.returned[0]


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
    assert scheduler(epoch=-1, left=(), returned=()) == ""


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"plan": PLAN | {"replicas": 0}}, "plan"),
        ({"plan": PLAN | {"rows": 8}}, "plan.rows is 8"),
        ({"left": ((1, 2),)}, "left has 1 parts"),
        ({"left": ((1, 2), (0, 99))}, r"left[1]"),
        ({"left": ((2, 1), (0, 0))}, r"left[0]"),
        ({"epoch": -1}, "left has 2 parts"),
        ({"returned": (replace(PORTION, part=2),)}, r"returned[0]"),
        ({"returned": (replace(PORTION, index=99),)}, r"returned[0]"),
        ({"returned": (PORTION, replace(PORTION, minibatches=99))}, r"returned[1]"),
        ({"returned": (replace(PORTION, minibatches=0),)}, r"returned[0]"),
        ({"returned": (replace(PORTION, epoch=7),)}, r"returned[0]"),
    ],
)
def test_what_a_scheduler_cannot_have(more, said):
    assert f"ledger.{said}" in scheduler(**more)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state["vectors"].append(99), "vectors are"),
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
