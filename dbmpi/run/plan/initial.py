"""First parameters out of a trained model (`train.initial`), tensor by tensor of the same name.

A tensor that `train.initial_skip` names, or that the model lacks, has the first values it would have without;
one of another shape ends the program, as in PyTorch's `load_state_dict(strict=False)`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dbmpi.arrays import Array
from dbmpi.config.sections import Config, Train
from dbmpi.data.factors import array
from dbmpi.errors import UserError
from dbmpi.layout.network import Network
from dbmpi.layout.partitioning import Partitioning
from dbmpi.layout.placement import tensor_boxes
from dbmpi.layout.sharding import Piece
from dbmpi.text import several, show

if TYPE_CHECKING:
    from dbmpi.data.describe import Description
    from dbmpi.trained.model import TrainedModel

MOST_NAMES = 8  # of tensors, in a message
ALIKE = 0.01  # share by which inputs may be scaled otherwise, before a warning


@dataclass(frozen=True)
class Choice:
    """Which tensors of a network come from a model.

    Attributes
    ----------
    taken
        Their names.
    skipped, lacking
        Those that begin anew, as was asked for, and as the model has none of their name.
    unused
        Those of the model that the network has not.
    """

    taken: tuple[str, ...]
    skipped: tuple[str, ...]
    lacking: tuple[str, ...]
    unused: tuple[str, ...]


def choose(trained: "TrainedModel", network: Network, train: Train) -> Choice:
    """Return which tensors of a network come from a model.

    Raises
    ------
    UserError
        A tensor has another shape there, no tensor is called as one that is to be left out, or none is left.
    """
    there = {tensor.name: tensor.shape for tensor in trained.network.tensors}
    names = [tensor.name for tensor in network.tensors]
    skipped = _skipped(names, train.initial_skip or "")
    wanted = [tensor for tensor in network.tensors if tensor.name in there and tensor.name not in skipped]
    other = [tensor for tensor in wanted if there[tensor.name] != tensor.shape]
    if other:
        shapes = [f"{one.name} has the shape {there[one.name]}, and is to have {one.shape}" for one in other]
        layers = dict.fromkeys(one.name.rpartition(".")[0] for one in other)
        skip = " ".join([*filter(None, [train.initial_skip]), *layers])
        raise UserError(
            f"train.initial = {show(train.initial)}: {_some(shapes)}; give layers of the same sizes, or "
            f'train.initial_skip = "{skip}" to let these begin anew'
        )
    if not wanted:
        raise UserError(
            f"train.initial = {show(train.initial)}: none of its tensors, {_some(list(there))}, is taken; "
            "leave it out"
        )
    lacking = tuple(name for name in names if name not in there and name not in skipped)
    unused = tuple(name for name in there if name not in names)
    return Choice(tuple(one.name for one in wanted), tuple(skipped), lacking, unused)


def _skipped(names: list[str], patterns: str) -> list[str]:
    """Return the tensors that patterns name, by themselves or by their layer."""
    found = []
    for pattern in patterns.split():
        of_it = [name for name in names if name == pattern or name.startswith(f"{pattern}.")]
        if not of_it:
            raise UserError(
                f"train.initial_skip names {show(pattern)}, but there is no such layer or tensor; there are "
                f"{_some(names)}"
            )
        found += of_it
    return found


def _some(items: list[str]) -> str:
    """Return items for a message, which may be many."""
    more = f", and {len(items) - MOST_NAMES} more" if len(items) > MOST_NAMES else ""
    return ", ".join(items[:MOST_NAMES]) + more


def look(config: Config, network: Network, data: "Description") -> tuple[list[str], list[str]]:
    """See that a new run can begin from its model; return what to say of it, and warnings. On rank 0.

    Nothing of the parameters is read.

    Raises
    ------
    UserError
        As `choose`; or there is no model, or it is damaged.
    """
    with _opened(config.train) as trained:
        choice = choose(trained, network, config.train)
        said = f"first parameters from {trained.path}: {several(len(choice.taken), 'tensor')}"
        for names, what in (
            (choice.skipped, "anew"),
            (choice.lacking, "not there, and so anew"),
            (choice.unused, "not used"),
        ):
            said += f"; {what}: {_some(list(names))}" if names else ""
        return [said], [*_scaled_otherwise(trained, choice, data)]


def _scaled_otherwise(trained: "TrainedModel", choice: Choice, data: "Description") -> Iterator[str]:
    """Yield a warning where the first layer would see inputs of other sizes than it has learned from."""
    first = next((one.name for one in trained.network.tensors), "").rpartition(".")[0]
    shape, mine = tuple(trained.format.input_shape), tuple(data.input_shape)
    if shape != mine or not any(name.startswith(f"{first}.") for name in choice.taken):
        return
    then, now = ([array(one, shape) for one in pair] for pair in (trained.format.of_inputs, data.of_inputs))
    # Of where an input of 0 comes to lie, too, in units of the values that the network sees, about 1.
    if np.allclose(then[0], now[0], ALIKE, 0.0) and np.allclose(then[1], now[1], ALIKE, ALIKE):
        return
    yield (
        f"{trained.path} has learned from inputs that were scaled otherwise (scale * x + offset) than those "
        f"of {data.path}, so that its first layer sees them in other sizes; write its attributes scale and "
        'offset to x, with data.scaling = "none", if they are the same quantities'
    )


def _opened(train: Train) -> "TrainedModel":
    from dbmpi.trained.opening import open_model  # which reads TOML: only where there is a model to read

    assert train.initial is not None
    try:
        return open_model(Path(train.initial))
    except UserError as error:
        raise UserError(f"train.initial = {show(train.initial)}: {error}") from None


class Initial:
    """The model of `train.initial`, as one shard reads its own part of it. Use as a context. Local.

    Raises
    ------
    UserError
        It cannot be read here.
    """

    def __init__(self, train: Train, partitioning: Partitioning) -> None:
        self._trained, self._partitioning = _opened(train), partitioning
        self._taken = frozenset(choose(self._trained, partitioning.network, train).taken)

    def __enter__(self) -> "Initial":
        return self

    def __exit__(self, *ignored: object) -> None:
        self._trained.close()

    def fill(self, piece: Piece, out: Array) -> None:
        """Overwrite the elements of a piece, `(piece.size,)`, that come from the model."""
        for box in tensor_boxes(self._partitioning, piece):
            if box.tensor.name in self._taken:
                values = np.empty(box.shape, self._trained.dtype)
                self._trained.values.read(box.tensor.name, box.at, values)
                out[box.start : box.stop] = values.reshape(-1)
