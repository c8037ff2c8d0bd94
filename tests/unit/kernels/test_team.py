"""The pool of threads: products and loops in parts, whoever computes them, whatever the environment says."""

import json
import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import numba
import numpy as np
import pytest

from dbmpi.run.start.launch import thread_environment
from kernels import jit
from kernels.layers import products
from kernels.llvm import blas
from kernels.parameters import rules
from kernels.threads import team
from tests import ROOT


@pytest.fixture
def two_threads():
    jit.set_threads(2)
    with jit.parallel_from(0):
        yield
    jit.set_threads(1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(70, 31, 9), (3, 50, 40), (1, 1, 1), (5, 1, 7), (1, 9, 4), (2, 3, 1)])
def test_products_in_parts_are_products(two_threads, shape, dtype):
    (m, n, k), random = shape, np.random.default_rng(0)
    a, b = random.normal(size=(m, k + 2)).astype(dtype), random.normal(size=(k, n)).astype(dtype)
    for left in (a[:, 1 : k + 1], a[:, :k].copy(), np.asfortranarray(a[:, :k]), a.T.copy()[1 : k + 1].T):
        for right in (b, np.asfortranarray(b)):
            out = np.full((m, n), np.nan, dtype)
            products.multiply(left, right, out)
            np.testing.assert_allclose(out, left @ right, rtol=1e-4, atol=1e-4)


def test_without_a_blas_that_kernels_can_call_numpy_multiplies(two_threads, monkeypatch):
    assert not blas.find(SimpleNamespace()) and not blas.find(SimpleNamespace(cblas_sgemm=0))
    monkeypatch.setattr(products, "_found", None)
    monkeypatch.setattr(blas, "of_numpy", SimpleNamespace)
    monkeypatch.setattr(products, "_in_parts", None)
    a, out = np.arange(6.0).reshape(2, 3), np.empty((2, 2))
    products.multiply(a, a.T, out)
    np.testing.assert_array_equal(out, a @ a.T)


def test_two_callers_at_once_each_get_their_result(two_threads):
    vectors = [np.zeros(300_000) for _ in range(4)]

    def add(y):
        for _ in range(50):
            rules.add_scaled(y, 1.0, np.ones(y.size))

    callers = [threading.Thread(target=add, args=(y,)) for y in vectors]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert all((y == 50.0).all() for y in vectors)


@pytest.mark.parametrize("threads", [2, 5])
def test_a_sum_has_all_of_its_parts_and_does_not_depend_on_who_came(two_threads, threads):
    jit.set_threads(threads)
    g = np.random.default_rng(0).normal(size=400_000).astype(np.float32)
    sums = {rules.sum_of_squares(g) for _ in range(1000)}
    assert len(sums) == 1 and sums.pop() == pytest.approx(np.vdot(g.astype(float), g), rel=1e-12)


def test_there_are_threads_where_no_cache_can_be_written():
    code = """
from numba.core import caching
caching.CompileResultCacheImpl._locator_classes = []
from kernels.threads.team import Team
Team().resize(2)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_child_of_a_fork_computes_alone(two_threads):
    y = np.zeros(100_000)
    child = os.fork()
    if child == 0:
        rules.add_scaled(y, 1.0, np.ones(y.size))
        os._exit(0 if (y == 1.0).all() else 1)
    assert os.waitpid(child, 0)[1] == 0


HOSTILE = {
    "OMP_NUM_THREADS": "7",
    "OMP_WAIT_POLICY": "active",
    "OMP_PROC_BIND": "true",
    "OPENBLAS_NUM_THREADS": "4",
    "MKL_NUM_THREADS": "5",
    "GOMP_SPINCOUNT": "infinite",
    "KMP_BLOCKTIME": "infinite",
    "NUMBA_NUM_THREADS": "2",
    "NUMBA_THREADING_LAYER_PRIORITY": "nothing at all",
}
COUNT = """
import json, os, threading
import numba, numpy as np
from kernels import jit
from kernels.layers import products
jit.set_threads(2)
a = np.ones((400, 400), np.float32)
out = np.empty_like(a)
products.multiply(a, a, out)
assert (out == 400).all()
helpers = [one.name for one in threading.enumerate() if one.name.startswith("helper")]
print(json.dumps([numba.threading_layer(), jit.threads(), helpers, len(os.sched_getaffinity(0))]))
"""


@pytest.mark.parametrize("layer", ["omp", "tbb", "workqueue", "none such"])
def test_the_environment_of_the_user_changes_no_number(layer):
    env = os.environ | HOSTILE | {"NUMBA_THREADING_LAYER": layer} | thread_environment(2)
    run = subprocess.run(
        [sys.executable, "-c", COUNT], env=env, cwd=ROOT, capture_output=True, text=True, check=True
    )
    cores = len(os.sched_getaffinity(0))
    assert json.loads(run.stdout) == ["workqueue", 2, ["helper-0"], cores]


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_whichever_layer_numba_has_the_pool_is_this_one(layer):
    """Where Numba was loaded before the environment was set."""
    env = os.environ | HOSTILE | {"NUMBA_THREADING_LAYER": layer}
    env["NUMBA_THREADING_LAYER_PRIORITY"] = "omp tbb workqueue"
    run = subprocess.run(
        [sys.executable, "-c", COUNT], env=env, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(run.stdout)[:3] == [layer, 2, ["helper-0"]]


class Account:
    """The words of a team, and its account, without helpers."""

    MS = 1_000_000

    def __init__(self):
        self.words = np.zeros(team._BYTES // 8, np.int64)
        self.words[team._REST // 8] = team._SHORTEST_REST
        self.now = 10**12

    def loop(self, alone_ms, taken_ms, own=2, parts=4):
        """A loop of which the caller computed its own parts at the speed of `alone_ms` for all."""
        computed = self.now + round(alone_ms * self.MS * own / parts)
        end = self.now + round(taken_ms * self.MS)
        _account(self.words.ctypes.data, self.now, self.now, computed, max(computed, end), own, parts)
        self.now = end

    @property
    def rest_ms(self):
        """How long the helpers rest from now on; 0 where they do not."""
        resting = self.words[team._RESTING // 8]
        return (self.words[team._UNTIL // 8] - self.now) / self.MS if resting else 0


@numba.njit
def _account(at, start, announced, computed, end, own, parts):
    team._account(at, start, announced, computed, end, own, parts)


def test_helpers_that_gain_do_not_rest_for_one_stall():
    account = Account()
    for _ in range(20):
        account.loop(1.0, 0.55)
    account.loop(1.0, 3.0)
    assert account.rest_ms == 0


def test_helpers_rest_where_the_caller_waits_for_them_and_longer_each_time():
    account = Account()
    rests = []
    for _ in range(8):
        while not account.rest_ms:
            account.loop(1.0, 1.5)
        rests.append(account.rest_ms)
        account.now = int(account.words[team._UNTIL // 8])
        account.words[team._RESTING // 8] = 0
    assert rests == [20, 40, 80, 160, 320, 640, 640, 640]
    for _ in range(3000):
        account.loop(1.0, 0.55)
    while not account.rest_ms:
        account.loop(1.0, 1.5)
    assert account.rest_ms == 20


def test_the_account_is_open_while_helpers_are_of_no_use_and_cost_nothing():
    account = Account()
    for _ in range(10_000):
        account.loop(0.01, 0.01, own=4)
    assert account.rest_ms == 0
