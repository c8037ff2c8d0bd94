"""The thread that reads ahead: order, bounded depth, errors, and an end."""

import threading
import time

import numpy as np
import pytest

from dbmpi.data.prefetch import Prefetcher
from dbmpi.data.split import Split
from dbmpi.errors import PeerSilent, UserError


class SlowSplit:
    """Stands for a Split: returns the ranges it was asked for, counts, and can be told to wait or to fail."""

    path = "slow.h5"

    def __init__(self) -> None:
        self.reads = 0
        self.gate = threading.Event()
        self.gate.set()
        self.fails_at = -1

    def read(self, ranges):
        self.gate.wait(10)
        self.reads += 1
        if self.reads == self.fails_at:
            raise UserError("slow.h5: is damaged")
        return np.concatenate([np.arange(*one) for one in ranges])[:, None]

    def labels_or_targets(self, ranges):
        return np.concatenate([np.arange(*one) for one in ranges])

    def weights(self, ranges):
        return ()


@pytest.fixture
def slow():
    return SlowSplit()


@pytest.fixture
def ahead(slow):
    reader = Prefetcher(slow, depth=2)
    yield reader
    slow.gate.set()
    reader.close()


def wait_until(condition) -> bool:
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.002)
    return condition()


def in_time() -> bool:
    """No wait takes too long."""
    return False


def test_gives_what_the_split_reads():
    with Split("digits", "train", (8, 24)) as split:
        reader = Prefetcher(split)
        reader.request([(100, 140), (3, 7)])
        x_NI, y_N = reader.take(in_time)
        assert np.array_equal(x_NI, split.read([(100, 140), (3, 7)])) and x_NI.shape == (44, 16)
        assert np.array_equal(y_N, split.labels([(100, 140), (3, 7)]))
        reader.close()


def test_gives_windows_of_images():
    window = ((2, 7), (0, 4), (0, 1))
    with Split("digits", "train", window=window) as split, Split("digits", "train") as everything:
        reader = Prefetcher(split)
        reader.request([(100, 140), (3, 7)])
        x_NHWC, _ = reader.take(in_time)
        images = everything.read([(100, 140), (3, 7)]).reshape(44, 8, 8, 1)
        assert np.array_equal(x_NHWC, images[:, 2:7, :4])
        reader.close()


def test_portions_come_in_the_order_of_the_requests(ahead):
    for start in range(20):
        ahead.request([(start, start + 2)])
    assert [ahead.take(in_time)[1].tolist() for _ in range(20)] == [[s, s + 1] for s in range(20)]


def test_reads_ahead_but_no_further_than_its_depth(ahead, slow):
    for start in range(6):
        ahead.request([(start, start + 1)])
    assert wait_until(lambda: slow.reads == 2)
    time.sleep(0.05)
    assert slow.reads == 2
    ahead.take(in_time)
    assert wait_until(lambda: slow.reads == 3)


def test_request_returns_at_once_though_the_file_system_waits(ahead, slow):
    slow.gate.clear()
    began = time.monotonic()
    for start in range(50):
        ahead.request([(start, start + 1)])
    assert time.monotonic() - began < 5.0  # a read would wait for ever


def test_error_is_raised_by_the_take_of_its_portion(ahead, slow):
    slow.fails_at = 2
    for start in range(3):
        ahead.request([(start, start + 1)])
    assert ahead.take(in_time)[1].tolist() == [0]
    with pytest.raises(UserError, match="damaged"):
        ahead.take(in_time)
    assert ahead.take(in_time)[1].tolist() == [2]


def test_a_silent_file_system_is_found_by_the_deadline(ahead, slow):
    slow.gate.clear()
    ahead.request([(0, 1)])
    looks = iter([False] * 3)
    with pytest.raises(PeerSilent, match=r"slow\.h5.*cluster\.timeout_s"):
        ahead.take(lambda: next(looks, True))
    assert not list(looks)


def test_take_without_request_does_not_wait(ahead):
    with pytest.raises(RuntimeError):
        ahead.take(in_time)


@pytest.mark.parametrize("requests", [0, 1, 10])
def test_close_ends_the_thread(slow, requests):
    reader = Prefetcher(slow, depth=2)
    for start in range(requests):
        reader.request([(start, start + 1)])
    reader.close()
    assert not reader._thread.is_alive()


def test_close_gives_up_a_read_that_hangs(slow):
    reader = Prefetcher(slow)
    slow.gate.clear()
    reader.request([(0, 1)])
    began = time.monotonic()
    reader.close(timeout_s=0.05)
    assert time.monotonic() - began < 1
    slow.gate.set()
