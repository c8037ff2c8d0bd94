"""Inputs and targets among arrays, by the names that others give them."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from dbmpi.errors import UserError
from dbmpi.prepare.source import SPLITS, TRAIN
from dbmpi.prepare.splits import split_of
from dbmpi.prepare.streams import Stream, opened
from dbmpi.text import listed

# Their words, the likeliest first; a name that has any other word is none of them.
INPUTS = "x", "inputs", "input", "images", "image", "imgs", "features", "feature", "feats", "pixels", "data"
TARGETS = "y", "targets", "target", "labels", "label", "classes", "class"
FILLERS = "set", "orig"
JOINED = re.compile(r"([xy])(train\w*|test\w*|val\w*|dev)|(train\w*|test\w*|val\w*|dev)([xy])")

# Names that links may have, which are not listed.
LINKED = [
    f"{group}{name}" for group in ("", "train/", "validation/", "test/") for name in (*INPUTS, *TARGETS)
]

Pair = tuple[str, str]


def usual_names(path: Path) -> Mapping[str, Pair]:
    """Return the names of inputs and targets of each split. Raises UserError if there are none."""
    with opened(path) as arrays:
        pairs = _pairs([*arrays, *(name for name in LINKED if name in arrays)])
        found = {split: pairs[split] for split in SPLITS if split in pairs}
        if TRAIN in found:
            return found
        if "" in pairs:
            return {TRAIN: pairs[""]}
        shapes = ", ".join(f"{name} {one.shape} {_kind(one)}" for name, one in arrays.items())
        named = f"has {listed([*arrays])}" if arrays else "has no array"
        raise UserError(f"{path}: {named}; say what is what: --inputs NAME --targets NAME ({shapes})")


def _kind(array: Stream) -> str:
    return "text" if array.dtype.kind in "US" else str(array.dtype)


def _pairs(names: Sequence[str]) -> dict[str, Pair]:
    """Return inputs and targets by their split, "" where the name has none."""
    found: dict[str, dict[tuple[str, ...], list[tuple[int, str]]]] = {}
    within = os.path.commonprefix([name[: name.rfind("/") + 1] for name in names])
    within = within[: within.rfind("/") + 1]  # a folder that all are in says nothing
    for name in names:
        for words in (INPUTS, TARGETS):
            split, place = _role(name[len(within) :], words)
            if place is not None:
                found.setdefault(split, {}).setdefault(words, []).append((place, name))
    return {
        split: (min(roles[INPUTS])[1], min(roles[TARGETS])[1])
        for split, roles in found.items()
        if len(roles) == 2
    }


def _role(name: str, words: tuple[str, ...]) -> tuple[str, int | None]:
    """Return the split that a name says, and the place of its other word among these; None for others."""
    pieces = [
        piece for piece in re.split(r"[\W_]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()) if piece
    ]
    pieces = [one for piece in pieces for one in _divided(piece)]
    splits = {split for piece in pieces if (split := split_of(piece))}
    rest = [piece for piece in pieces if not split_of(piece) and piece not in FILLERS]
    known = len(splits) < 2 and len(rest) == 1 and rest[0] in words
    return splits.pop() if splits else "", words.index(rest[0]) if known else None


def _divided(piece: str) -> list[str]:
    """Return a word such as "xtrain" as two."""
    match = JOINED.fullmatch(piece)
    return [one for one in match.groups() if one] if match else [piece]
