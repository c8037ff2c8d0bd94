"""What is known of the coordinator is read as it was written."""

from dbmpi.checkpoint import coordinator_state
from dbmpi.checkpoint.coordinator_state import CoordinatorState
from dbmpi.checkpoint.run_state import RunState, SandblasterState, StoppingState
from dbmpi.output.totals import EvaluationSums, LogState, ServiceTotals, Tally

LOG = LogState(1.5, 2.5, 3, 7, 0, 0, 2, 5, EvaluationSums(), ServiceTotals())
SETTINGS = {"method": "lbfgs", "history": 4, "sampled": False}
METHOD = {"kept": [1], "new": None, "products": [[5, 5, 0.5]], "slope": -1.0}
BATCH = SandblasterState(None, METHOD, (3, 5, 6), SETTINGS, {}, 4, 3, Tally(2).state(), 0.5, False)


def test_it_is_read_as_it_was_written():
    state = RunState(LOG, StoppingState(None, 0), sandblaster=BATCH)
    sent = CoordinatorState(state, [3, 5, 6], 9)
    assert coordinator_state.read(sent.to_bytes()) == sent
    assert sent.examples == 7
    assert coordinator_state.read(CoordinatorState(state).to_bytes()).vectors is None
