"""Threads, laziness, and what the package promises to its importers."""

import os
import platform
import subprocess
import sys
import threading
import time
from functools import partial

import numba
import numpy as np
import pytest

import kernels
from kernels import jit
from kernels.deferred import Deferred
from kernels.image import images
from kernels.layers import dense
from kernels.layers.input import gather_transpose
from kernels.losses import elementwise
from kernels.parameters import rules


@pytest.fixture
def two_threads():
    jit.set_threads(2)
    yield
    jit.set_threads(1)


def test_the_package_is_marked_and_imports_nothing():
    assert kernels.DBMPI_KERNELS == 1
    code = "import sys, kernels; assert 'numba' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=kernels.__path__[0] + "/..")


def test_importing_compiles_nothing():
    code = (
        "from kernels.layers import dense, input as inputs\n"
        "from kernels.losses import elementwise, softmax\n"
        "from kernels.parameters import compression, rules\n"
        "modules = (dense, inputs, elementwise, softmax, compression, rules)\n"
        "made = [k for m in modules for k in vars(m).values() if hasattr(k, 'serial')]\n"
        "assert len(made) > 20 and not any(k.serial.signatures or k.parallel.signatures for k in made)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=kernels.__path__[0] + "/..")


SUMS_IN_HELPERS = """
import numpy as np
from kernels.layers import dense
from kernels.losses import elementwise
random = np.random.default_rng(0)
z, y = (random.normal(size=(10, 100)).astype(np.float32) for _ in range(2))
for run in (lambda db: dense.activation_backward(z, y, db, 1),
            lambda db: elementwise.logistic_delta(z, 0, np.zeros(100, np.int64), 0.1, db)):
    db = np.empty(10, np.float32)
    run(db)
    print(db.tobytes().hex())
"""


def test_a_kernel_from_the_cache_gives_the_bits_of_one_just_compiled(tmp_path):
    """Each has sums in a helper: as a function of its own, it would be another one from the cache."""
    run = partial(
        subprocess.run,
        [sys.executable, "-c", SUMS_IN_HELPERS],
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
        cwd=kernels.__path__[0] + "/..",
        stdout=subprocess.PIPE,
        check=True,
    )
    compiled = run().stdout
    assert len(compiled.split()) == 2 and list(tmp_path.glob("**/*.numba"))
    assert run().stdout == compiled


@pytest.mark.parametrize("n", [0, -1, 10_000])
def test_impossible_thread_counts_are_refused(n):
    with pytest.raises(ValueError, match="must be 1 to 1024"):
        jit.set_threads(n)
    assert jit.threads() == 1


def test_small_arrays_stay_on_one_thread(two_threads):
    before = len(rules.add_scaled.parallel.signatures)
    rules.add_scaled(np.zeros(jit.PARALLEL_ELEMENTS - 1), 1.0, np.zeros(jit.PARALLEL_ELEMENTS - 1))
    assert len(rules.add_scaled.parallel.signatures) == before


def test_two_threads_compute_what_one_does(two_threads):
    assert jit.threads() == 2
    random = np.random.default_rng(0)
    z, labels, b = (
        random.normal(size=(70, 33)).astype(np.float32),
        random.integers(0, 99, 33),
        np.empty(70, np.float32),
    )
    raw, rows = random.integers(0, 255, (50, 21)).astype(np.uint8), random.integers(0, 50, 33)
    g = random.normal(size=100_001).astype(np.float32)
    for kernel, arguments in (
        (dense.bias_activation, (z, b * 0, 1)),
        (elementwise.logistic_delta, (z, 7, labels, 0.5, b)),
        (elementwise.squared_labels_delta, (z, 7, labels, 0.5, b)),
        (rules.adagrad, (g, g + 1, g * g, 0.1, 1e-8)),
        (rules.sum_of_squares, (g,)),
        (gather_transpose, (raw, rows, 0.5, 1.0, np.empty((21, 33), np.float32))),
    ):
        copies = [[a.copy() if isinstance(a, np.ndarray) else a for a in arguments] for _ in range(2)]
        with jit.parallel_from(0):
            serial, parallel = kernel.serial(*copies[0]), kernel(*copies[1])
        assert kernel.parallel.signatures  # the parallel variant is what ran
        assert (serial is None and parallel is None) or serial == pytest.approx(parallel, rel=1e-12)
        for one, two in zip(*copies, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-6)


def _instructions(kernel, *arguments):
    options = {name: kernel.serial.targetoptions[name] for name in ("fastmath", "error_model")}
    compiled = numba.njit(**options)(kernel.serial.py_func)  # a cached kernel shows no assembly
    compiled(*arguments)
    return compiled.inspect_asm(compiled.signatures[0])


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the names of x86 instructions")
def test_the_hot_loops_are_vectorized():
    v = np.ones(64, np.float32)
    assert "vdivps" in _instructions(rules.adagrad, v.copy(), v, v.copy(), 0.1, 1e-8)
    assert "vdivps" in _instructions(dense.bias_activation, np.ones((4, 64), np.float32), v[:4], 1)


def test_importing_loads_no_compiler():
    names = ", ".join(
        f"kernels.layers.{name}" for name in ("bias", "conv", "dense", "dropout", "lcn", "local", "pool")
    )
    names += ", kernels.losses.softmax, kernels.losses.elementwise, kernels.layers.input"
    names += ", kernels.parameters.compression, kernels.parameters.linear, kernels.parameters.rules"
    code = f"import sys, {names}; assert not {{'numba', 'llvmlite'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=kernels.__path__[0] + "/..")


def test_threads_that_want_one_object_get_one(monkeypatch):
    def slow():
        time.sleep(0.05)  # long enough for the others to come
        return made.append(object()) or made[-1]

    made, one, kernel = [], Deferred(slow), jit.kernel(lambda x: x)
    monkeypatch.setattr(images, "find", lambda *_: slow() and abs)
    for want in (lambda: one.made, lambda: kernel(0)):
        made.clear()
        wanting = [threading.Thread(target=want) for _ in range(4)]
        for thread in wanting:
            thread.start()
        for thread in wanting:
            thread.join()
        assert len(made) == 1


def test_without_compilation_kernels_use_one_thread():
    code = "from kernels import jit; jit.set_threads(2); assert jit.threads() == 1"
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=kernels.__path__[0] + "/..", env=environment)
