"""The failure path: one message, the status, and the end of the job, from every thread."""

import io
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from dbmpi.comm import abort
from dbmpi.comm.abort import STATUS_INTERRUPTED, RankIdentity, guarded, report
from dbmpi.errors import STATUS_FAILURE, STATUS_USER_ERROR, Fenced, PeerSilent, UserError


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what the failure path does to this process, and let it hurry."""
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(abort, "FORWARD_S", 0.0)
    monkeypatch.setattr(abort, "SECOND_S", 0.0)
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


def who(job: str = "") -> RankIdentity:
    made = RankIdentity(3)
    made.role, made.job = "shard 1", job
    return made


def failing(error: BaseException) -> Callable[[], int]:
    def body() -> int:
        raise error

    return body


def test_a_body_that_returns_is_left_alone():
    aborted: list[int] = []
    assert guarded(lambda: 7, who(), aborted.append) == 7
    assert aborted == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("odd"), STATUS_FAILURE),
        (MemoryError(), STATUS_FAILURE),
        (PeerSilent("no answer from rank 2"), STATUS_FAILURE),
        (UserError("data.h5 is damaged: write it again"), STATUS_USER_ERROR),
        (KeyboardInterrupt(), STATUS_INTERRUPTED),
    ],
)
def test_the_job_is_aborted_once_with_the_status_of_the_error(error, status, capfd):
    aborted: list[int] = []
    assert guarded(failing(error), who(), aborted.append) == status
    assert aborted == [status] and status != 0
    first = capfd.readouterr().err.splitlines()[0]
    assert first.startswith("dbmpi: rank 3 (shard 1)") and str(error) in first


def test_an_unexpected_error_shows_rank_role_host_and_traceback(capfd):
    guarded(failing(ValueError("odd")), who(), lambda status: None)
    text = capfd.readouterr().err
    host = socket.gethostname()
    assert text.startswith(f"dbmpi: rank 3 (shard 1) on {host}: ValueError: odd\n")
    assert "Traceback" in text and "in body" in text


def test_what_the_user_can_mend_has_no_traceback(capfd):
    guarded(failing(UserError("damaged: write it again")), who(), lambda status: None)
    assert len(capfd.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("asked", [False, True])
def test_a_silent_peer_is_told_in_one_line_and_with_the_stacks_where_they_are_asked_for(
    capfd, monkeypatch, asked
):
    monkeypatch.setattr(abort.faulthandler, "is_enabled", lambda: asked)
    guarded(failing(PeerSilent.named("rank 2", 15.0)), who(), lambda status: None)
    text = capfd.readouterr().err
    assert "Traceback" not in text and ("most recent call first" in text) is asked
    assert text.splitlines()[0].endswith(": no sign of life for 15 s from rank 2")
    assert asked or len(text.splitlines()) == 1


def test_a_thread_that_may_not_call_mpi_ends_its_process_alone(monkeypatch):
    ended: list[str] = []
    monkeypatch.setattr(abort, "leave", lambda status: ended.append(f"left {status}"))
    end = abort.by_main_thread(lambda status: ended.append(f"aborted {status}"))
    end(1)
    thread = threading.Thread(target=end, args=(2,))
    thread.start()
    thread.join()
    assert ended == ["aborted 1", "left 2"]


def test_an_error_in_another_thread_ends_the_job_too(capfd):
    aborted: list[int] = []

    def body() -> int:
        thread = threading.Thread(target=failing(OSError("disk")))
        thread.start()
        thread.join()
        return 0

    guarded(body, who(), aborted.append)
    assert aborted == [STATUS_FAILURE]
    assert "rank 3 (shard 1)" in capfd.readouterr().err


class Buffered(io.StringIO):
    """An output that is lost with the process unless it is flushed."""

    out = ""

    def flush(self) -> None:
        self.out = self.getvalue()


def test_what_was_printed_before_is_not_lost(monkeypatch):
    out, found = Buffered(), []

    def body() -> int:
        print("before")
        raise ValueError

    monkeypatch.setattr(sys, "stdout", out)
    guarded(body, who(), lambda status: found.append(out.out))
    assert found == ["before\n"]


def test_the_first_of_a_job_on_a_node_speaks_for_all(capfd):
    job = uuid.uuid4().hex
    first, second, other = who(job), who(job), who(uuid.uuid4().hex)
    aborted: list[int] = []
    for name in (first, second, other):
        guarded(failing(ValueError("odd")), name, aborted.append)
    assert aborted == [STATUS_FAILURE] * 3  # each sees to it that the job ends
    assert capfd.readouterr().err.count("ValueError: odd") == 2 * 2  # line and traceback, of two jobs


def test_before_the_job_has_a_name_everyone_speaks():
    assert who().speaks() and who().speaks()


def test_a_rank_has_a_name_before_it_has_a_role():
    assert RankIdentity(5)() == "rank 5"
    assert "rank 5" in report(ValueError("x"), RankIdentity(5)())


@pytest.mark.parametrize("error", [None, ValueError(), SystemExit(2), KeyboardInterrupt(), Fenced()])
def test_what_a_rank_holds_is_given_up_whichever_way_it_leaves_but_if_the_run_goes_on(error):
    let_go: list[int] = []
    one = who()
    one.let_go, one.give_way, one.leave_alone = lambda: let_go.append(1), lambda: None, lambda: None
    with suppress(SystemExit):
        guarded(failing(error) if error is not None else lambda: 0, one, lambda status: None)
    assert bool(let_go) is not isinstance(error, Fenced)
