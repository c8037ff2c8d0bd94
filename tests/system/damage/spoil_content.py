"""Ways to spoil what a file means, with HDF5 itself whole; and things that are no such file at all."""

import itertools
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from tests.system.damage.parts import KEYS, SPLITS, Rng, draw, replace, values_of
from tests.system.damage.spoil_sources import far_source, rows_elsewhere

Spoilers = tuple[Callable[[Path, Rng], str], ...]
FILTERS = (32000, 32015, 32001, 305, 65535)  # which the reader may lack


def drop_something(path: Path, rng: Rng) -> str:
    """Remove a group or a data set."""
    split, key = draw(rng)
    name = split if rng.integers(3) == 0 else f"{split}/{key}"
    with h5py.File(path, "r+") as file:
        del file[name]
    return name


def other_object(path: Path, rng: Rng) -> str:
    """Put a group, a type or a link that leads nowhere, in circles or outside in its place."""
    split, key = draw(rng)
    name = split if rng.integers(3) == 0 else f"{split}/{key}"
    kinds = {
        "group": lambda file: file.create_group(name),
        "type": lambda file: file.__setitem__(name, np.dtype("f8")),
        "dangling": lambda file: file.__setitem__(name, h5py.SoftLink("/nowhere")),
        "circle": lambda file: file.__setitem__(name, h5py.SoftLink(f"/{name}")),
        "external": lambda file: file.__setitem__(name, h5py.ExternalLink("missing.h5", f"/{name}")),
        "external circle": lambda file: file.__setitem__(name, h5py.ExternalLink(path.name, f"/{name}")),
        "device": lambda file: file.__setitem__(name, h5py.ExternalLink("/dev/zero", f"/{name}")),
    }
    kind = list(kinds)[rng.integers(len(kinds))]
    with h5py.File(path, "r+") as file:
        del file[name]
        kinds[kind](file)
    return f"{name}: {kind}"


def cyclic_groups(path: Path, rng: Rng) -> str:
    """Let a group hold its parent, and the split lead through it; sound but for the missing data set."""
    split, key = draw(rng)
    with h5py.File(path, "r+") as file:
        file[f"{split}/up"] = file["/"]
        del file[f"{split}/{key}"]
        file[f"{split}/{key}"] = file[split]
    return f"{split}/{key}"


def other_type(path: Path, rng: Rng) -> str:
    """Store a type that is none of the format's."""
    name = "/".join(draw(rng))
    rows = len(values_of(path, name))
    compound = np.zeros((rows, 2), [("a", "f4"), ("b", "i4")])
    kinds = {
        "text": np.array([b"abc"] * rows),
        "complex": np.zeros((rows, 2), "c8"),
        "bool": np.zeros((rows, 2), bool),
        "int64 cube": np.zeros((rows, 2, 2), "i8"),
        "compound": compound,
        "void": np.zeros((rows, 2), "V7"),
        "long double": np.zeros((rows, 2), np.longdouble),
        "null": h5py.Empty("f4"),
        "strings": np.array(["a"] * rows, dtype=object),
    }
    kind = list(kinds)[rng.integers(len(kinds))]
    replace(path, name, kinds[kind])
    return f"{name}: {kind}"


def other_shape(path: Path, rng: Rng) -> str:
    """Store another number of rows or of dimensions."""
    split, key = draw(rng)
    name, values = f"{split}/{key}", values_of(path, f"{split}/{key}")
    kinds = {
        "no rows": values[:0],
        "fewer rows": values[:-1],
        "scalar": values.reshape(-1)[0],
        "six dimensions": values.reshape(len(values), 1, 1, 1, -1, 1),
        "one dimension more": values[..., None, None, None],
    }
    kind = list(kinds)[rng.integers(len(kinds))]
    replace(path, name, kinds[kind])
    return f"{name}: {kind}"


def not_finite(path: Path, rng: Rng) -> str:
    """Put NaN or infinity into the inputs or the targets."""
    split, key = draw(rng)
    values = values_of(path, f"{split}/{key}")
    if values.dtype.kind != "f":
        key, values = "x", values_of(path, f"{split}/x").astype("f4")
        for other in SPLITS:
            replace(path, f"{other}/x", values_of(path, f"{other}/x").astype("f4"))
    bad = float(rng.choice([np.nan, np.inf, -np.inf]))
    values.reshape(-1)[rng.integers(values.size)] = bad
    replace(path, f"{split}/{key}", values)
    return f"{split}/{key}: {bad}"


def absurd_values(path: Path, rng: Rng) -> str:
    """Store inputs that are finite, but no number to compute with."""
    bad = float(rng.choice([1e300, -1e200, 3e38, -1e25]))
    for split in SPLITS:
        values = values_of(path, f"{split}/x").astype("f8")
        values.reshape(-1)[rng.integers(values.size)] = bad
        replace(path, f"{split}/x", values)
    return f"{bad}"


def wrong_labels(path: Path, rng: Rng) -> str:
    """Store labels below 0 or without a unit."""
    split, rows = SPLITS[rng.integers(2)], 0
    bad = [-1, 4, 1000, 2**31, 2**62, -(2**63), 2**64 - 1][rng.integers(7)]
    for other in SPLITS:
        rows = len(values_of(path, f"{other}/y"))
        labels = np.zeros(rows, "u8" if bad >= 2**63 else "i8")
        if other == split:
            labels[rng.integers(rows)] = bad
        replace(path, f"{other}/y", labels)
    return f"{split}: {bad}"


def wrong_attribute(path: Path, rng: Rng) -> str:
    """Give a scale or an offset that is no number to compute with."""
    kinds = ("big", np.nan, np.inf, [1.0, 2.0], h5py.Empty("f4"), 1 + 2j, 1e300, np.zeros(0), True, b"\xff")
    kind = kinds[rng.integers(len(kinds))]
    key = ("scale", "offset")[rng.integers(2)]
    with h5py.File(path, "r+") as file:
        for split in SPLITS:
            file[split]["x"].attrs[key] = kind
    return f"{key}: {kind}"


def never_written(path: Path, rng: Rng) -> str:
    """Leave rows out, as a program does that was ended while it wrote."""
    name = "/".join(draw(rng))
    values = values_of(path, name)
    chunks = (4, *values.shape[1:]) if rng.integers(2) else None
    with h5py.File(path, "r+") as file:
        del file[name]
        stored = file.create_dataset(name, values.shape, values.dtype, chunks=chunks)
        if chunks and rng.integers(2):
            stored[:9] = values[:9]
    return f"{name}: {chunks}"


def absurd_size(path: Path, rng: Rng) -> str:
    """Declare far more rows or columns than are stored."""
    split, key = draw(rng)
    rows, columns = [(2**40, 6), (2**62, 6), (48, 2**40), (48, 2**50), (2**33, 2**30)][rng.integers(5)]
    splits, keys = SPLITS if rng.integers(2) else (split,), KEYS if rng.integers(2) else (key,)
    with h5py.File(path, "r+") as file:
        for one, other in itertools.product(splits, keys):
            kind, attributes = file[one][other].dtype, dict(file[one][other].attrs)
            shape = (rows,) if kind.kind == "i" else (rows, columns)
            del file[one][other]
            stored = file[one].create_dataset(other, shape, kind, chunks=(4, 6)[: len(shape)])
            stored.attrs.update(attributes)
    return f"{split}/{key}: {rows} x {columns}"


def lacking_filter(path: Path, rng: Rng) -> str:
    """Ask for a filter that is not there: the number of gzip's is changed in the file."""
    name = "/".join(draw(rng))
    values = values_of(path, name)
    with h5py.File(path, "r+", libver="earliest") as file:
        del file[name]
        file.create_dataset(name, data=values, chunks=(4, *values.shape[1:]), compression="gzip")
    content, number = bytearray(path.read_bytes()), int(rng.choice(FILTERS))
    at = content.rfind(b"deflate\0") - 8
    content[at : at + 2] = number.to_bytes(2, "little")
    path.write_bytes(content)
    return f"{name}: {number}"


def no_such_file(path: Path, rng: Rng) -> str:
    """Put something else in the place of the file."""
    content = path.read_bytes()
    path.unlink()
    kinds: dict[str, Callable[[], object]] = {
        "nothing": lambda: None,
        "empty": path.touch,
        "directory": path.mkdir,
        "dangling link": lambda: path.symlink_to("nowhere.h5"),
        "circular link": lambda: path.symlink_to(path.name),
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "noise": lambda: path.write_bytes(rng.bytes(5000)),
        "text": lambda: path.write_text("[data]\npath = 1\n" * 50),
        "numpy": lambda: np.save(path.open("wb"), np.zeros(9)),
        "zip": lambda: zipfile.ZipFile(path, "w").writestr("data.h5", content),
        "signature alone": lambda: path.write_bytes(content[:8]),
        "signature and noise": lambda: path.write_bytes(content[:8] + rng.bytes(3000)),
        "signature of itself": lambda: path.write_bytes(content[:96] * 40),
    }
    kind = list(kinds)[rng.integers(len(kinds))]
    kinds[kind]()
    return kind


def more_than_asked_for(path: Path, rng: Rng) -> str:
    """Add what the format does not know of, at which nobody looks."""
    with h5py.File(path, "r+") as file:
        file["up"] = file["/"]
        file["train/note"] = h5py.ExternalLink("missing.h5", "/")
        file["more/deep/groups"] = np.full(3, np.nan)
        file["train/x"].attrs["note"] = "x" * int(rng.integers(1, 5000))
    return ""


def bytes_behind_the_end(path: Path, rng: Rng) -> str:
    """Append bytes, which HDF5 ignores."""
    with path.open("ab") as file:
        file.write(rng.bytes(int(rng.integers(1, 4000))))
    return ""


def through_links(path: Path, rng: Rng) -> str:
    """Reach the data by a link, which is allowed."""
    split, key = draw(rng)
    with h5py.File(path, "r+") as file:
        file.move(f"{split}/{key}", f"moved/{key}") if "moved" in file else file.create_group("moved")
        if f"moved/{key}" not in file:
            file.move(f"{split}/{key}", f"moved/{key}")
        file[split][key] = h5py.SoftLink(f"/moved/{key}")
    return f"{split}/{key}"


REFUSED: Spoilers = (
    drop_something,
    other_object,
    cyclic_groups,
    other_type,
    other_shape,
    not_finite,
    absurd_values,
    wrong_labels,
    wrong_attribute,
    never_written,
    absurd_size,
    lacking_filter,
    far_source,
    no_such_file,
)
ACCEPTED: Spoilers = (more_than_asked_for, bytes_behind_the_end, through_links, rows_elsewhere)


def pick(rng: Rng) -> tuple[str, Spoilers]:
    """Draw what must become of a case, and the ways of spoiling that lead there."""
    return ("accept", ACCEPTED) if rng.integers(10) == 0 else ("refuse", REFUSED)
