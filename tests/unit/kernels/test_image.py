"""Kernels from images: the same numbers without Numba, for the types they were made for, and only whole."""

import os
import platform
import subprocess
import sys

import numba
import numpy as np
import pytest

import kernels
from kernels import jit
from kernels.image import link, memory, store

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="images are made for x86-64")

FROM_THE_CACHE = """
import sys
import numpy as np
from kernels.losses import softmax
from kernels.parameters import rules
g, z = np.arange(5, dtype=np.float32), np.arange(6, dtype=np.float32).reshape(3, 2)
rules.adagrad(g, g.copy(), g.copy(), 0.1, 1e-8)
stats = np.zeros((4, 2))
softmax.softmax_stats(z, 0, np.zeros(2, np.int64), stats)
print(rules.sum_of_squares(g).hex(), g.tobytes().hex(), stats.tobytes().hex(), "numba" in sys.modules)
"""


def add_scaled(x, factor, lengths, twice):
    """Stand for a kernel: add factor to x, and return how often."""
    if x.size > 10:
        raise ValueError("too long")
    scratch = np.full(x.size, factor)
    for n in range(lengths[0] + lengths[1]):
        x[n] += scratch[n] * (2 if twice else 1)
    return lengths[1]


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    return tmp_path / "images"


def ready(*arguments):
    """Return a kernel that was called once, and its only entry."""
    kernel = jit.kernel(add_scaled)
    kernel(*arguments)
    (entry,) = kernel._entries
    return kernel, entry


def test_the_second_process_computes_the_same_without_numba(tmp_path):
    def run():
        return subprocess.run(
            [sys.executable, "-c", FROM_THE_CACHE],
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
            cwd=kernels.__path__[0] + "/..",
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()

    first, second = run(), run()
    assert first[:-1] == second[:-1] and (first[-1], second[-1]) == ("True", "False")


def test_an_entry_takes_its_own_types_alone(directory):
    x = np.zeros(4, np.float32)
    kernel, entry = ready(x, 0.5, (1, 2), True)
    assert entry(x, np.float64(0.5), (np.int64(1), 2), False) == 2
    np.testing.assert_array_equal(x, [1.5, 1.5, 1.5, 0])

    still, others = x[:].copy(), (x.astype(float), x[::2], x.reshape(2, 2), x.tolist(), None)
    still.flags.writeable = False
    strange = [(other, 0.5, (1, 2), True) for other in (still, *others)]
    strange += [(x, 1, (1, 2), True), (x, 0.5, (1, 2, 3), True), (x, 0.5, [1, 2], True), (x, 0.5, (1, 2), 1)]
    strange += [(x, 0.5, (1, 2**70), True), (x, 0.5, (1, 2)), ()]
    for arguments in strange:
        assert entry(*arguments) is NotImplemented
    assert kernel(x[::2], 1.0, (0, 1), False) == 1 and x[0] == 2.5
    assert len(kernel._entries) == 2
    kernel(np.frombuffer(bytearray(8), np.dtype("f4", copy=True)), 0.5, (1, 1), True)
    assert len(kernel._entries) == 2  # a dtype of its own is the same type


def test_numba_says_what_a_kernel_raises(directory):
    kernel, _ = ready(np.zeros(4), 0.5, (1, 2), True)
    kept = len(memory._kept)
    for _ in range(2):
        with pytest.raises(ValueError, match="too long"):
            kernel(np.zeros(11), 0.5, (1, 2), True)
    assert len(kernel._entries) == 1 and len(memory._kept) == kept


@pytest.mark.parametrize("spoil", ["cut", "changed", "empty", "circumstances"])
def test_an_image_that_is_not_whole_or_of_another_machine_is_made_again(directory, monkeypatch, spoil):
    ready(np.zeros(4), 0.5, (1, 2), True)
    (file,) = directory.iterdir()
    whole = file.read_bytes()
    if spoil == "circumstances":
        monkeypatch.setattr(store, "circumstances", lambda: "another processor")
        monkeypatch.setattr(store, "path", lambda *_: file)
    else:
        changed = whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:]
        file.write_bytes({"cut": whole[:-100], "changed": changed, "empty": b""}[spoil])
    x = np.zeros(4)
    ready(x, 0.5, (1, 2), True)
    assert x[0] == 1.0 and (file.read_bytes() == whole) == (spoil != "circumstances")


def test_what_cannot_be_written_or_executed_does_not_matter(tmp_path, monkeypatch):
    (tmp_path / "images").write_text("a file where a directory should be")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    x = np.zeros(4)
    ready(x, 0.5, (1, 2), True)

    def load(*_):
        raise link.Unsupported

    monkeypatch.setattr(memory, "load", load)
    kernel = jit.kernel(add_scaled)
    kernel(x, 0.5, (1, 2), True)
    assert x[0] == 2.0 and kernel._entries == (kernel.made,)  # no types are looked at again


def test_kernels_compile_where_no_directory_can_be_written_to(monkeypatch):
    monkeypatch.setattr(numba.core.caching.CompileResultCacheImpl, "_locator_classes", [])
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    x = np.zeros(4)
    assert jit.kernel(add_scaled)(x, 0.5, (1, 2), True) == 2 and x[0] == 1.0
