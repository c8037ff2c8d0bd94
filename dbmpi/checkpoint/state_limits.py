"""What a `RunState` cannot be though every value in it is of the right kind. Pure.

What is used later without another look: a portion has to be one of its plan, a vector one that was saved.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from dbmpi.checkpoint.run_state import DownpourState, RunState, SandblasterState
from dbmpi.comm.operations import BASE_GRADIENT, change, step
from dbmpi.data.portions import PortionPlan

MOST_NUMBER = 2**31 - 1  # of an epoch, a sample or a pass: messages have 32 bits for them


def impossible(state: RunState, rows: int, vectors: Collection[int]) -> str:
    """Return what cannot be; nothing where all can.

    Parameters
    ----------
    rows
        Training examples.
    vectors
        The numbers of the vectors that are saved.
    """
    if state.downpour is not None:
        return _of_downpour(state.downpour, rows)
    if state.sandblaster is not None:
        return _of_sandblaster(state.sandblaster, vectors)
    return ""


def _of_downpour(state: DownpourState, rows: int) -> str:
    scheduler = state.scheduler
    portions = [*scheduler.portions, *(note.portion for note in state.notes)]
    plans = [scheduler.plan, *(portion.plan for portion in portions)]
    if odd := {plan.rows for plan in plans} - {rows}:
        return f"a plan is of {max(odd):,} rows, and there are {rows:,} training examples"
    plan = PortionPlan(**vars(scheduler.plan))
    parts = 0 if scheduler.epoch < 0 else plan.replicas
    if len(scheduler.left) != parts:
        return f"ledger.left has {len(scheduler.left)} parts, and the plan {parts}"
    for part, (start, stop) in enumerate(scheduler.left):
        if not start <= stop <= plan.portions(scheduler.epoch, part):
            return f"ledger.left[{part}] is not of the plan"
    if scheduler.epoch > MOST_NUMBER or any(one.epoch > scheduler.epoch for one in scheduler.portions):
        return f"a portion is of an epoch after {scheduler.epoch}, or that is beyond {MOST_NUMBER}"
    known = list(scheduler.portions)
    return "" if len(set(known)) == len(known) else "a portion is there twice"


def _of_sandblaster(state: SandblasterState, vectors: Collection[int]) -> str:
    if max(state.sample, state.pass_number) > MOST_NUMBER:
        return f"sample {state.sample} or evaluation {state.pass_number} is beyond {MOST_NUMBER}"
    tally, method = state.tally, state.method
    if not len(tally["done"]) == len(tally["won"]) == len(tally["lost"]):
        return "tally counts different numbers of replicas"
    if set(state.vectors) != set(vectors) or len(state.vectors) != len(vectors):
        return f"vectors are {list(state.vectors)}, and those saved {sorted(vectors)}"
    at = state.optimizer["at"] if state.optimizer is not None else None
    used = {vector for _, vector in at["direction"]["terms"]} if at is not None else set()
    if method and "kept" in method:
        if problem := _of_history(method, int(state.settings["history"])):
            return problem
        used |= {BASE_GRADIENT, *_pair_vectors(_pairs(method))}
    return "" if used <= set(vectors) else f"vectors {sorted(used - set(vectors))} are used and not saved"


def _of_history(method: Mapping[str, Any], history: int) -> str:
    """Return what cannot be of the pairs that L-BFGS keeps, and their inner products."""
    pairs, kept = _pairs(method), method["kept"]
    if len(set(pairs)) != len(pairs) or len(kept) > history or any(pair > history for pair in pairs):
        return f"method has the pairs {pairs} of a history of {history}"
    products = {(u, v): value for u, v, value in method["products"]}
    vectors = sorted(_pair_vectors(kept))
    if any((u, v) not in products for i, u in enumerate(vectors) for v in vectors[i:]):
        return "method.products lacks some"
    positive = ((step(pair), change(pair)) for pair in kept), ((change(pair), change(pair)) for pair in kept)
    if not all(products[pair] > 0 for some in positive for pair in some):
        return "method.products has a curvature that is not positive"
    return ""


def _pairs(method: Mapping[str, Any]) -> list[int]:
    return [*method["kept"], *([] if method["new"] is None else [method["new"]])]


def _pair_vectors(pairs: Collection[int]) -> Iterator[int]:
    for pair in pairs:
        yield from (step(pair), change(pair))
