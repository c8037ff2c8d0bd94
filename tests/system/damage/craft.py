"""What somebody could put into the files of a checkpoint who computes the checksums anew."""

from collections.abc import Callable

import h5py
import numpy as np

WEIGHT, PARAMETERS = "layers.0.weight", "parameters"
UNLIMITED = h5py.h5s.UNLIMITED


def _virtual(file: h5py.File, source: Callable[[h5py.Dataset], h5py.VirtualSource]) -> None:
    """Let all of a tensor come from one source."""
    before = file[PARAMETERS][WEIGHT]
    layout = h5py.VirtualLayout(before.shape, before.dtype)
    layout[...] = source(before)
    del file[PARAMETERS][WEIGHT]
    file[PARAMETERS].create_virtual_dataset(WEIGHT, layout)


def _endless(file: h5py.File) -> None:
    """Let a tensor be as long as it is itself."""
    before = file[PARAMETERS][WEIGHT]
    maxshape = (None, *before.shape[1:])
    layout = h5py.VirtualLayout(before.shape, before.dtype, maxshape)
    source = h5py.VirtualSource(".", f"{PARAMETERS}/{WEIGHT}", before.shape, before.dtype, maxshape)
    layout[0:UNLIMITED] = source[0:UNLIMITED]
    del file[PARAMETERS][WEIGHT]
    file[PARAMETERS].create_virtual_dataset(WEIGHT, layout)


def _half(file: h5py.File) -> None:
    """Leave rows of a tensor out."""
    before = file[PARAMETERS][WEIGHT]
    layout = h5py.VirtualLayout(before.shape, before.dtype)
    layout[:1] = h5py.VirtualSource("shard-0000.h5", PARAMETERS, (1, *before.shape[1:]))
    del file[PARAMETERS][WEIGHT]
    file[PARAMETERS].create_virtual_dataset(WEIGHT, layout)


def _replace(group: h5py.Group, name: str, value: object) -> None:
    del group[name]
    group[name] = value


def _external(group: h5py.Group, name: str, path: str) -> None:
    """Let a data set lie in another file, as raw bytes."""
    before = group[name]
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_external(path.encode(), 0, before.size * before.dtype.itemsize)
    space, kind = h5py.h5s.create_simple(before.shape), h5py.h5t.py_create(before.dtype)
    del group[name]
    h5py.h5d.create(group.id, name.encode(), kind, space, plist)


def _stored(group: h5py.Group, name: str, **more: object) -> None:
    """Store a data set in another way."""
    values = group[name][...]
    del group[name]
    group.create_dataset(name, data=values, **more)


def _source(name: str, vector: str = PARAMETERS) -> Callable[[h5py.File], None]:
    return lambda file: _virtual(file, lambda data: h5py.VirtualSource(name, vector, data.shape))


INDEXES: dict[str, Callable[[h5py.File], object]] = {
    "rows from itself": _source(".", f"{PARAMETERS}/{WEIGHT}"),
    "rows from itself by name": _source("index.h5", f"{PARAMETERS}/{WEIGHT}"),
    "as long as itself": _endless,
    "a file outside": _source("../../secret.h5"),
    "a file of no name": _source("/etc/passwd"),
    "another vector": _source("shard-0000.h5", "rule.squares"),
    "rows left out": _half,
    "no virtual data set": lambda file: _stored(file[PARAMETERS], WEIGHT),
    "raw bytes of a file": lambda file: _external(file[PARAMETERS], WEIGHT, "/etc/passwd"),
    "raw bytes of a file as pieces": lambda file: _external(file, "pieces", "/etc/passwd"),
    "a link out": lambda file: _replace(file[PARAMETERS], WEIGHT, h5py.ExternalLink("/etc/x.h5", "/x")),
    "a link out as vector": lambda file: _replace(file, PARAMETERS, h5py.ExternalLink("/etc/x.h5", "/x")),
    "a link in a circle": lambda file: _replace(file, PARAMETERS, h5py.SoftLink(f"/{PARAMETERS}")),
    "a group in a circle": lambda file: _replace(file[PARAMETERS], WEIGHT, file["/"]),
    "a vector too few": lambda file: file.__delitem__(PARAMETERS),
    "a tensor too few": lambda file: file[PARAMETERS].__delitem__(WEIGHT),
    "a tensor more": lambda file: file[PARAMETERS].create_dataset("more", data=[1.0]),
    "a vector more": lambda file: file.create_group("rule.more"),
    "something more": lambda file: file.__setitem__("more", h5py.ExternalLink("/etc/x.h5", "/x")),
    "another type": lambda file: _replace(file, "pieces", np.dtype("f8")),
    "pieces of another kind": lambda file: _replace(file, "pieces", np.zeros(3, "i8")),
}
SHARDS: dict[str, Callable[[h5py.File, str], object]] = {
    "raw bytes of a file": lambda file, path: _external(file, PARAMETERS, path),
    "raw bytes of a file as updates": lambda file, path: _external(file, "updates", path),
    "a link out": lambda file, path: _replace(file, PARAMETERS, h5py.ExternalLink(path, "/x")),
    "a link within": lambda file, path: _replace(file, "rule.squares", h5py.SoftLink(f"/{PARAMETERS}")),
    "chunks": lambda file, path: _stored(file, PARAMETERS, chunks=(4,)),
    "gzip": lambda file, path: _stored(file, PARAMETERS, compression="gzip"),
    "never written": lambda file, path: (
        file.__delitem__(PARAMETERS), file.create_dataset(PARAMETERS, (file["rule.squares"].size,), "f4")
    ),
    "another type": lambda file, path: _replace(file, PARAMETERS, file[PARAMETERS][...].astype("f8")),
    "another byte order": lambda file, path: _replace(file, PARAMETERS, file[PARAMETERS][...].astype(">f4")),
    "another shape": lambda file, path: _replace(file, PARAMETERS, file[PARAMETERS][...][None]),
    "fewer values": lambda file, path: _replace(file, PARAMETERS, file[PARAMETERS][:-1]),
    "more values": lambda file, path: [
        _replace(file, name, np.append(file[name][...], np.float32(1)))
        for name in file.keys() - {"updates"}
    ],
    "a vector too few": lambda file, path: file.__delitem__(PARAMETERS),
    "a vector more": lambda file, path: file.__setitem__("rule.more", file[PARAMETERS][...]),
    "something more": lambda file, path: file.__setitem__("more", np.zeros(3)),
    "no updates": lambda file, path: file.__delitem__("updates"),
    "a virtual data set": lambda file, path: (
        file.__delitem__(PARAMETERS),
        file.create_virtual_dataset(PARAMETERS, h5py.VirtualLayout((14,), "f4")),
    ),
}  # fmt: skip
