"""What is known of the coordinator is read as it was written."""

from dataclasses import replace

from dbmpi.checkpoint import coordinator_state
from dbmpi.checkpoint.coordinator_state import CoordinatorState
from dbmpi.checkpoint.run_state import DownpourState, RunState, SandblasterState, StoppingState
from dbmpi.checkpoint.scheduler_state import SchedulerState
from dbmpi.comm.assignments import Note, PlanNumbers, Portion
from dbmpi.output.evaluation_sums import EvaluationSums
from dbmpi.output.totals import LogState, ServiceTotals, Tally

PLAN = PlanNumbers(9, 1, 2, 1, 2, None)
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


def test_notes_are_of_what_came_since():
    scheduler = SchedulerState(5, 5, 0, ((1, 2), (0, 3)), (), PLAN)
    portions = [
        Portion(0, part, 0, 2, 2, 0, plan) for part, plan in ((0, PLAN), (1, replace(PLAN, chunk_rows=3)))
    ]
    notes = Note(1, portions[0], False), Note(0, portions[1], True, 7)
    state = RunState(LOG, StoppingState(None, 0), downpour=DownpourState(scheduler, True, (3, 0)))
    records = b"".join(note.record().tobytes() for note in notes)
    read = coordinator_state.read(CoordinatorState(state).to_bytes(), records)
    assert read.state == replace(state, downpour=replace(state.downpour, notes=notes))
    assert read.examples == 7 + 2
