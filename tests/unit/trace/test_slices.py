"""Slices in rows, arrows, and sums: from records that are known."""

import pytest

from dbmpi.comm.protocol import Op, Work
from dbmpi.comm.wait import Cause
from dbmpi.spans import Kind, Recorder
from dbmpi.trace.files import open_job
from dbmpi.trace.slices import Names, slices
from dbmpi.trace.table import table
from dbmpi.trace.writing import look
from tests.unit.trace.ranks import leave


def seen(run, spans, rank=3, **said):
    """Return the slices of a rank's records."""
    leave(run, spans, rank=rank, ranks=rank + 1, **said)
    (file,) = (one for one in open_job(run, None).files if one.rank == rank)
    names = Names(*(file.names(what) for what in ("causes", "works", "commands")))
    return list(slices(file.read(), rank, names, 0.0))


def test_slices_lie_within_one_another_or_apart(tmp_path):
    spans = Recorder(1)
    spans.add((Kind.WAIT, 2e-9, 3e-9, Cause.STATES))  # records come in the order of their ends
    spans.note(Kind.FORWARD, 1e-9, 4e-9)
    spans.note(Kind.BACKWARD, 4e-9, 12e-9)
    spans.note(Kind.WORK, 0.0, 10e-9, Work.TRAIN)
    made = [(one.name, one.start, one.stop) for one in seen(tmp_path, spans)]
    # what would end after that in which it begins is cut there
    assert made == [("train", 0, 10), ("forward", 1, 4), ("wait: states", 2, 3), ("backward", 4, 10)]


def test_what_goes_on_beside_has_as_many_rows_as_overlap(tmp_path):
    spans = Recorder(1)
    for piece, (start, stop) in enumerate([(0, 5), (1, 3), (4, 6), (5, 9)]):
        spans.note(Kind.EXCHANGE, start * 1e-9, stop * 1e-9, Op.PUSH, 1, piece)
    assert [one.row.lane for one in seen(tmp_path, spans)] == [0, 1, 1, 0]


def test_an_arrow_goes_from_a_push_to_its_shard_and_to_the_fetch_that_brings_it(tmp_path):
    client, shard = Recorder(1), Recorder(1)
    client.note(Kind.EXCHANGE, 1e-9, 3e-9, Op.PUSH, 1, 7, client.serial(1, 7))
    shard.note(Kind.SERVE, 2e-9, 3e-9, Op.PUSH, 3, 7, shard.serial(3, 7), value=2)
    client.note(Kind.EXCHANGE, 5e-9, 9e-9, Op.FETCH, 1, 7, client.serial(1, 7))
    shard.note(Kind.SERVE, 6e-9, 7e-9, Op.FETCH, 3, 7, shard.serial(3, 7))
    push, fetch, arrival = seen(tmp_path, client)
    apply, send = seen(tmp_path, shard, rank=1, role="shard 0")
    assert [push.name, fetch.name, arrival.name, apply.name, send.name] == [
        "push", "fetch", "fetched", "apply", "send",
    ]  # fmt: skip
    assert push.begins == apply.passes and fetch.begins == send.passes != apply.passes
    assert set(arrival.ends) == {*push.begins, *fetch.begins}
    assert (apply.counter, send.counter, arrival.start) == (2, None, 9)


def test_sums_tell_learning_from_all_else(tmp_path):
    spans = Recorder(1)
    spans.add((Kind.WAIT, 0.0, 1.0, Cause.COORDINATOR))  # for an order to learn
    spans.add((Kind.WAIT, 2.0, 3.0, Cause.STATES))
    spans.note(Kind.WORK, 1.0, 5.0, Work.TRAIN)
    spans.add((Kind.WAIT, 5.0, 7.0, Cause.COORDINATOR))  # for an evaluation
    spans.add((Kind.WAIT, 7.5, 8.0, Cause.STATES))  # in it
    spans.note(Kind.WORK, 7.0, 9.0, Work.EVALUATE)
    spans.add((Kind.WAIT, 9.0, 10.0, Cause.COORDINATOR))  # for the end
    leave(tmp_path, spans)
    _, (one,) = look(open_job(tmp_path, None))
    assert one.busy_s == 4.0
    assert (one.waits_s["coordinator"], one.waits_s["states"]) == (1.0, 1.0)
    assert (one.apart_s["coordinator"], one.apart_s["states"]) == (3.0, 0.5)
    assert one.active_s == 4.5
    assert table([one])[1].split()[-4:] == ["45.0%", "40.0%", "15.0%", "0.0%"]


@pytest.mark.parametrize(("accepted", "busy_s"), [(True, 3.0), (False, 0.0)])
def test_of_a_batch_method_portions_count_that_were_accepted(tmp_path, accepted, busy_s):
    spans = Recorder(1)
    spans.note(Kind.WORK, 0.0, 3.0, Work.GRADIENT, piece=4, version=2, value=100)
    spans.note(Kind.URGENT, 3.0, 3.5, Work.ACCEPT if accepted else Work.DROP, piece=4, version=2)
    leave(tmp_path, spans)
    _, (one,) = look(open_job(tmp_path, None))
    assert one.busy_s == busy_s
