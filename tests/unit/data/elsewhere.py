"""Data files whose rows lie in other files, in each way that HDF5 has."""

import h5py
import numpy as np

ROWS, CLASSES = 24, 3
RNG = np.random.default_rng(3)
X = RNG.integers(1, 256, (ROWS, 6), dtype=np.uint8)  # no 0, which HDF5 fills in
Y = np.arange(ROWS) % CLASSES


def write(path, x=X, y=Y, **layout):
    """Write a data file; returns its path."""
    with h5py.File(path, "w") as file:
        for name in ("train", "test"):
            file.create_dataset(f"{name}/x", data=x, **layout)
            file[f"{name}/y"] = y
    return path


def mapped(path, *parts, shape=X.shape, **more):
    """Let train/x of a new data file take rows from others: (where in it, file, data set, where there)."""
    layout = h5py.VirtualLayout(shape, np.uint8, **more)
    for ours, name, dset, theirs, theirs_shape in parts:
        layout[ours] = h5py.VirtualSource(name, dset, theirs_shape, **more)[theirs]
    with h5py.File(write(path, X[: shape[0]], Y[: shape[0]]), "r+") as file:
        del file["train/x"]
        file["train"].create_virtual_dataset("x", layout)
    return path


def virtual(tmp_path):
    """Two halves in files of their own."""
    for name, half in (("a", X[:12]), ("b", X[12:])):
        write(tmp_path / f"{name}.h5", half, Y[:12])
    halves = (
        (np.s_[i : i + 12], name, "train/x", np.s_[:], (12, 6)) for i, name in ((0, "a.h5"), (12, "b.h5"))
    )
    return mapped(tmp_path / "set.h5", *halves), tmp_path / "b.h5"


def nested(tmp_path):
    """A virtual data set above two others."""
    virtual(tmp_path)
    (tmp_path / "set.h5").rename(tmp_path / "inner.h5")
    return mapped(
        tmp_path / "set.h5", (np.s_[:], "inner.h5", "train/x", np.s_[:], X.shape)
    ), tmp_path / "b.h5"


def external(tmp_path):
    """Two halves in raw files."""
    raw = tmp_path / "a.raw", tmp_path / "b.raw"
    for path, half in zip(raw, (X[:12], X[12:]), strict=True):
        path.write_bytes(b"head" + half.tobytes())
    with h5py.File(write(tmp_path / "set.h5"), "r+") as file:
        del file["train/x"]
        places = [(str(path), 4, X.nbytes // 2) for path in raw]
        file["train"].create_dataset("x", X.shape, X.dtype, external=places)
    return tmp_path / "set.h5", raw[1]


def linked(tmp_path, **layout):
    """A master file of links, one of which leads through another file."""
    write(tmp_path / "far.h5", **layout)
    with h5py.File(tmp_path / "near.h5", "w") as file:
        file["x"], file["y"] = (h5py.ExternalLink("far.h5", f"/train/{key}") for key in "xy")
    with h5py.File(tmp_path / "set.h5", "w") as file:
        file["there"] = h5py.ExternalLink("near.h5", "/")
        file["train"], file["test"] = h5py.SoftLink("/there"), h5py.ExternalLink("far.h5", "/test")
    return tmp_path / "set.h5", tmp_path / "far.h5"


def linked_chunks(tmp_path):
    """As `linked`, with the rows in chunks."""
    return linked(tmp_path, chunks=(5, 6))


KINDS = virtual, nested, external, linked, linked_chunks
