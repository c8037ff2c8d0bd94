"""HDF5 files on a disk that fails at any moment: one error, and nothing that is left open."""

import errno
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dbmpi.checkpoint import hdf5_file

VALUES = np.arange(100_000, dtype=np.float32)


def write(path: Path) -> None:
    with hdf5_file.creating(path) as out:
        data = out.create_dataset("x", VALUES.shape, VALUES.dtype)
        data[:50_000], data[50_000:] = VALUES[:50_000], VALUES[50_000:]
        out["group/y"] = VALUES[:7]


def failing(monkeypatch: pytest.MonkeyPatch, at: int, name: str = "pwrite") -> list[int]:
    """Let the `at`-th call fail, and all after it; return what counts them."""
    calls, real = [0], getattr(os, name)

    def instead(*args: Any) -> Any:
        calls[0] += 1
        if calls[0] >= at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*args)

    monkeypatch.setattr(hdf5_file.os, name, instead)
    return calls


def test_short_writes_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(
        hdf5_file.os, "pwrite", lambda file, data, at: real(file, data[: max(1, len(data) // 2)], at)
    )
    write(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        assert np.array_equal(file["x"][:], VALUES) and np.array_equal(file["group/y"][:], VALUES[:7])


def test_the_first_error_of_any_write_is_raised_and_the_file_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as counting:
        calls = failing(counting, 1 << 30)
        write(tmp_path / "a.h5")
    for at in range(1, calls[0] + 1):
        with monkeypatch.context() as broken, pytest.raises(OSError, match="No space") as caught:
            failing(broken, at)
            write(tmp_path / "a.h5")
        assert caught.value.errno == errno.ENOSPC
    with monkeypatch.context() as broken, pytest.raises(OSError, match="No space"):
        failing(broken, 1, "truncate")
        write(tmp_path / "a.h5")
    assert not h5py.h5f.get_obj_count(types=h5py.h5f.OBJ_FILE)
