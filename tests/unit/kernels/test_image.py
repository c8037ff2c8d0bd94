"""Kernels from images: the same numbers without Numba, for the types they were made for, and only whole."""

import os
import platform
import shutil
import subprocess
import sys

import numpy as np
import pytest

import kernels
from kernels import jit
from kernels.image import link, memory, place, store

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

HELPER = """
from kernels import jit

@jit.helper
def value():
    return 2.0
"""
USER = """
import numpy as np
from kernels import jit
from kernels.deferred import prange
from kernels.helper import value

@jit.kernel
def image(x):
    x[0] = value()

@jit.threaded_kernel
def threaded(x):
    for i in prange(1):
        x[0] = value()

for compute in (image, threaded):
    x = np.zeros(1)
    compute(x)
    print(x[0])
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
    return tmp_path / f"dbmpi-kernels-{os.geteuid()}"


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


def _foreign(file):
    """Put in place of a file what is not to be opened, or not to be trusted."""
    return {
        "cut": lambda whole: file.write_bytes(whole[:-100]),
        "changed": lambda whole: file.write_bytes(whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:]),
        "empty": lambda whole: file.write_bytes(b""),
        "pipe": lambda whole: (file.unlink(), os.mkfifo(file)),
        "directory": lambda whole: (file.unlink(), file.mkdir()),
        "link": lambda whole: (
            file.rename(file.with_suffix(".of")),
            file.symlink_to(file.with_suffix(".of")),
        ),
        "others may write": lambda whole: file.chmod(0o666),
    }


@pytest.mark.parametrize("spoil", _foreign(None))
def test_an_image_that_is_spoilt_or_foreign_is_put_aside_and_made_again(directory, spoil):
    ready(np.zeros(4), 0.5, (1, 2), True)
    (file,) = directory.glob("*.image")
    whole = file.read_bytes()
    _foreign(file)[spoil](whole)
    x = np.zeros(4)
    ready(x, 0.5, (1, 2), True)
    assert x[0] == 1.0 and file.read_bytes() == whole and not file.stat().st_mode & 0o077


def test_an_image_of_other_circumstances_is_not_used(directory, monkeypatch):
    ready(np.zeros(4), 0.5, (1, 2), True)
    (file,) = directory.glob("*.image")
    monkeypatch.setattr(store, "circumstances", lambda: "another processor")
    monkeypatch.setattr(store.Key, "file", lambda *_: file)
    wanted = store.key(add_scaled, "any", "image")
    assert store.read(wanted) is None


def test_a_changed_helper_is_compiled_anew(tmp_path):
    """Whether the kernel comes as an image or as Numba has it; and a second start compiles nothing."""
    tree, cache = tmp_path / "tree", tmp_path / "cache"
    shutil.copytree(kernels.__path__[0], tree / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "kernels" / "helper.py").write_text(HELPER)
    (tree / "kernels" / "user.py").write_text(USER)

    def run():
        told = {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-c", "import kernels.user"]
        done = subprocess.run(
            command, env=os.environ | told, cwd=tree, stdout=subprocess.PIPE, check=True, text=True
        )
        return done.stdout.split(), sorted(one.stat().st_mtime_ns for one in cache.glob("*/*.*"))

    first, made = run()
    assert first == ["2.0", "2.0"] and run() == (first, made)
    (tree / "kernels" / "helper.py").write_text(HELPER.replace("2.0", "3.0"))
    assert run()[0] == ["3.0", "3.0"]


def test_a_directory_that_others_may_write_to_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    squatted = tmp_path / f"dbmpi-kernels-{os.geteuid()}"
    squatted.mkdir()
    squatted.chmod(0o777)
    place._writable.cache_clear()
    found = place.writable()
    assert found.parent == tmp_path and found != squatted and not found.stat().st_mode & 0o077
    assert place.readable() == [found]
    place._writable.cache_clear()
    assert place.writable() == found  # a later process takes the same


def test_what_cannot_be_written_or_executed_does_not_matter(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("a file where a directory should be")
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "file"))
    monkeypatch.setattr(place.tempfile, "gettempdir", lambda: str(tmp_path / "file"))
    monkeypatch.setattr(store, "problems", [])
    x = np.zeros(4)
    ready(x, 0.5, (1, 2), True)
    (text,) = store.problems
    assert "there is no directory" in text

    def load(*_):
        raise link.Unsupported

    monkeypatch.setattr(memory, "load", load)
    kernel = jit.kernel(add_scaled)
    kernel(x, 0.5, (1, 2), True)
    assert x[0] == 2.0 and kernel._entries == (kernel.made,)  # no types are looked at again
