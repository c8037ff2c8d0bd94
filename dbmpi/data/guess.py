"""Which data sets of a file of others look like inputs and targets, by name and shape. Local.

Nothing is trained on by a guess: it becomes a hint which keys of `[data]` to set.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import h5py

from dbmpi.data.fields import PLACE, SPLITS, VALIDATION_WORDS
from dbmpi.data.labels import is_text

INPUTS = "x", "inputs", "images", "image", "features", "data", "pixels"
TARGETS = "y", "targets", "labels", "label", "target", "classes", "class"
GROUPS = "groups", "group", "speaker", "speakers", "subject", "subjects", "patient", "recording", "session"
CHANNELS = 1, 2, 3, 4  # of images, and so no heights
MOST_SETS = 1000  # looked at


@dataclass(frozen=True)
class Guess:
    """Names for `[data]`.

    Attributes
    ----------
    inputs, targets
        What to set.
    channels_first
        Whether the inputs look like images (N, C, H, W).
    groups
        A data set that looks like groups of rows; None for none.
    validation
        What the file calls the split validation.
    """

    inputs: str
    targets: str
    channels_first: bool = False
    groups: str | None = None
    validation: str = "validation"

    def assignments(self) -> list[str]:
        """Return what differs from the default as lines of `[data]`."""
        lines = [f'inputs = "{self.inputs}"'] if self.inputs != "x" else []
        lines += [f'targets = "{self.targets}"'] if self.targets != "y" else []
        lines += [f'validation = "{self.validation}"'] if self.validation != "validation" else []
        return lines + (['layout = "channels_first"'] if self.channels_first else [])


def data_sets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Return the data sets of a file by path, as many as are looked at; not those behind links.

    Those of types that numpy lacks are left out, and those that hold nothing at all. Raises RuntimeError
    where the file is damaged.
    """
    sets: dict[str, h5py.Dataset] = {}

    def look(name: str | bytes, item: object) -> bool | None:
        if isinstance(item, h5py.Dataset) and _has_values(item):
            sets[name if isinstance(name, str) else name.decode(errors="backslashreplace")] = item
        return True if len(sets) >= MOST_SETS else None

    file.visititems(look)
    return sets


def written_by_pandas(file: h5py.File, sets: Iterable[str]) -> bool:
    """Return whether data sets of a file are parts of a table of pandas, which is none by itself."""
    groups = (file.get(group) for group in {name.rpartition("/")[0] for name in sets} if group)
    return any(isinstance(group, h5py.Group) and "pandas_type" in group.attrs for group in groups)


def _has_values(item: h5py.Dataset) -> bool:
    try:
        return item.dtype is not None and item.shape is not None
    except TypeError:
        return False


def guess(sets: dict[str, h5py.Dataset]) -> Guess | None:
    """Return which data sets are inputs and targets, if two of them look so."""
    inputs = max(filter(_can_be_inputs, sets.items()), key=_as_inputs, default=None)
    if inputs is None:
        return None
    name, x = inputs
    home = name.rpartition("/")[0]
    beside = {n: s for n, s in sets.items() if n != name and s.shape[:1] == x.shape[:1]}
    y = max(filter(_can_be_targets, beside.items()), key=lambda one: _as_targets(one, home), default=None)
    if y is None:
        return None
    first = looks_channels_first(x.shape)
    group = next((n for n in beside if n.rpartition("/")[2].lower() in GROUPS), None)
    if group is not None:
        there, _, own = group.rpartition("/")
        group = own if there == home else f"/{group}"
    key, of_targets = _key(name, sets), _key(y[0], sets)
    return Guess(key, of_targets, first, group, _validation(key, name, sets))


def _validation(key: str, name: str, sets: dict[str, h5py.Dataset]) -> str:
    """Return what the file calls the split validation, by the key of the inputs and their path for train."""
    general = key if PLACE in key else name.replace("train", PLACE)
    words = (word for word in ("validation", *VALIDATION_WORDS) if general.replace(PLACE, word) in sets)
    return next(words, "validation")


def looks_channels_first(shape: tuple[int, ...]) -> bool:
    """Return whether inputs of this shape, with that of rows, look like images (N, C, H, W)."""
    return len(shape) == 4 and shape[1] in CHANNELS and shape[3] not in CHANNELS


def _key(name: str, sets: dict[str, h5py.Dataset]) -> str:
    """Return how `[data]` names a data set: within the group of its split, or as a path."""
    group, _, own = name.rpartition("/")
    if group in SPLITS:
        return own
    general = name.replace("train", PLACE)
    if general != name and any(
        general.replace(PLACE, one) in sets for one in (*SPLITS[1:], *VALIDATION_WORDS)
    ):
        return general
    return name if not group else f"/{name}"


def _can_be_inputs(one: tuple[str, h5py.Dataset]) -> bool:
    _, stored = one
    return (
        stored.ndim in (2, 3, 4) and (stored.dtype.kind == "f" or stored.dtype == "uint8") and stored.size > 0
    )


def _as_inputs(one: tuple[str, h5py.Dataset]) -> tuple[bool, bool, int]:
    name, stored = one
    return "test" not in name and "val" not in name, _named(name, INPUTS), stored.size


def _can_be_targets(one: tuple[str, h5py.Dataset]) -> bool:
    name, stored = one
    own = name.rpartition("/")[2].lower()
    return (
        stored.ndim in (1, 2) and (is_text(stored.dtype) or stored.dtype.kind in "biuf") and own not in GROUPS
    )


def _as_targets(one: tuple[str, h5py.Dataset], home: str) -> tuple[bool, bool, bool, int]:
    name, stored = one
    return name.rpartition("/")[0] == home, _named(name, TARGETS), "test" not in name, -stored.size


def _named(name: str, words: tuple[str, ...]) -> bool:
    own = name.rpartition("/")[2].lower()
    return any(part in words for part in [own, *own.replace("-", "_").split("_")])
