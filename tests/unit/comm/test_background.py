"""A task in a thread, whose calls are made by the thread that waits for it."""

import threading
import time
from typing import Any

import pytest

from dbmpi.comm.background import Background


def test_what_the_task_asks_for_is_done_here_and_it_goes_on_meanwhile() -> None:
    here, seen, turns = threading.get_ident(), list[int](), list[int]()

    def task(call: Any) -> int:
        assert threading.get_ident() != here
        time.sleep(0.05)
        return sum(call(lambda: seen.append(threading.get_ident()) or 7) for _ in range(3))

    assert Background(task).result(lambda: turns.append(1)) == 21
    assert seen == [here] * 3 and len(turns) > 5


@pytest.mark.parametrize("inside", [True, False])
def test_an_error_of_the_task_or_of_a_call_is_raised_here(inside: bool) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Background(lambda call: call(fail) if inside else fail()).result(lambda: None)


def test_an_error_meanwhile_is_raised() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Background(lambda call: time.sleep(0.1)).result(fail)
