"""What all ranks do together before the roles split: rank 0 decides, and who is missing is named."""

import time
from typing import Any

import pytest

from dbmpi.comm import meeting
from dbmpi.comm.meeting import bounded, exchanged, gathered, shared, while_loading
from dbmpi.errors import PeerSilent, UserError
from dbmpi.run.start.refusal import Refused, agree, warn

pytestmark = pytest.mark.mpi(ranks=[3])
SHORT_S = 0.3


def test_only_rank_0_decides(comm: Any) -> None:
    assert agree(comm, lambda: f"rank {comm.rank}", "a test") == "rank 0"


def test_a_user_error_is_printed_once_and_refuses_everywhere(comm: Any, capsys: Any) -> None:
    def decide() -> None:
        raise UserError("train.minibatch = 0: give 1 or more")

    with pytest.raises(Refused):
        agree(comm, decide, "a test")
    printed = "dbmpi: error: train.minibatch = 0: give 1 or more\n" if comm.rank == 0 else ""
    assert capsys.readouterr().err == printed


def test_each_warning_is_printed_once(comm: Any, capsys: Any) -> None:
    warn(comm, [["a"], ["b", "a"], []][comm.rank], 60.0)
    printed = ["dbmpi: warning: a", "dbmpi: warning: b"] if comm.rank == 0 else []
    assert capsys.readouterr().err.splitlines() == printed


def test_every_rank_gets_what_every_rank_gives(comm: Any) -> None:
    assert exchanged(comm, ("of", comm.rank), "a test") == [("of", rank) for rank in range(comm.size)]
    assert gathered(comm, comm.rank, "a test") == (list(range(comm.size)) if comm.rank == 0 else None)


def test_rank_0_says_who_has_not_come(comm: Any) -> None:
    if comm.rank == 0:
        with pytest.raises(PeerSilent, match=r"from rank 2 \(the feast\)"):
            gathered(comm, 0, "the feast", SHORT_S)
    elif comm.rank == 1:
        gathered(comm, 1, "the feast")
    comm.Barrier()
    if comm.rank == 2:  # so that nothing is left over
        gathered(comm, 2, "the feast")
    elif comm.rank == 0:
        while meeting._arrived(comm, 2, meeting.TO_FIRST) is None:
            time.sleep(1e-3)


def test_rank_0_may_take_longer_than_the_deadline_and_gives_signs_of_life(comm: Any) -> None:
    began = time.monotonic()

    def slow() -> str:
        time.sleep(4 * SHORT_S)
        return "done"

    assert shared(comm, slow, "a test", SHORT_S) == "done"
    assert comm.rank == 0 or time.monotonic() - began > SHORT_S


def test_who_has_come_hears_from_rank_0_while_it_waits_for_slow_ranks(comm: Any, monkeypatch: Any) -> None:
    """Its deadline begins anew with each that comes; here it is just longer."""
    monkeypatch.setattr(meeting, "TURN_S", 0.0)
    if comm.rank == 2:
        time.sleep(3 * SHORT_S)
    assert exchanged(comm, comm.rank, "a test", SHORT_S if comm.rank else 5 * SHORT_S) == [0, 1, 2]


def test_a_rank_0_that_does_not_come_is_named(comm: Any) -> None:
    if comm.rank == 1:
        with pytest.raises(PeerSilent, match=r"from rank 0 \(the feast\)"):
            shared(comm, lambda: None, "the feast", SHORT_S)
    comm.Barrier()


def test_ranks_have_time_to_load_libraries_however_short_the_deadline() -> None:
    assert while_loading(SHORT_S) == meeting.LOADING_S and while_loading(300.0) == 300.0


def test_what_blocks_is_ended_by_a_thread(comm: Any, monkeypatch: Any) -> None:
    raised: list[Any] = []
    monkeypatch.setattr("threading.excepthook", lambda args: raised.append(args.exc_value))
    monkeypatch.setattr(meeting, "TURN_S", 0.0)
    with bounded(comm, "the feast", SHORT_S):
        time.sleep(3 * SHORT_S)
    with bounded(comm, "the feast", SHORT_S):
        pass
    (error,) = raised
    assert str(error) == f"no sign of life for {SHORT_S} s from another rank (the feast)"
