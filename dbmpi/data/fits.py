"""Whether labels or targets suit the last layer and the loss. Each remedy, followed, is the end of it."""

from collections.abc import Iterator

from dbmpi.data.describe import Description
from dbmpi.data.guess import looks_channels_first
from dbmpi.errors import UserError
from dbmpi.text import several, show

MOST_SHOWN = 8  # labels in a message
MANY_LABELS, FEW_EXAMPLES = 20, 10  # so many labels, with fewer rows each, may be amounts
RENUMBER = "store numpy.searchsorted(seen, y) as y, with seen = numpy.unique of both y together"


def check_fits(description: Description, outputs: int, loss: str) -> None:
    """Raise UserError unless the labels or targets suit the output layer and the loss. Local.

    Parameters
    ----------
    description : Description
    outputs : int
        Units of the last layer.
    loss : {"softmax", "logistic", "squared"}
        Integer labels suit all three (the latter two compare with 1 at the label's unit and 0 elsewhere),
        targets of 0 and 1 the latter two, float targets "squared" alone.

    Raises
    ------
    UserError
        They do not; the text names both numbers and the remedy.
    """
    where = f"{description.path}: {description.targets_from}"
    if description.targets is not None:
        _check_targets(where, description.targets, description.binary, outputs, loss)
    if description.classes is not None and description.classes > outputs:
        raise UserError(
            f"{where} hold labels up to {description.classes - 1}, but the last layer has {_units(outputs)} "
            f"(model.layers), for labels up to {outputs - 1}; {_remedy(description, description.classes)}"
        )
    names = description.class_names
    if names is not None and len(names) != outputs and not _made(description):
        place = description.view("train").targets.strip("/")
        raise UserError(
            f"{description.path}: the attribute class_names of {place} has {several(len(names), 'name')}, "
            f"but the last layer has {_units(outputs)} (model.layers): give it {len(names)}, or write a name "
            "for each unit"
        )


def _check_targets(where: str, targets: int, binary: bool, outputs: int, loss: str) -> None:
    """Raise UserError unless targets suit the output layer and the loss."""
    wider = "" if targets == outputs else f" and give the last layer {_units(targets)} (model.layers)"
    if binary and loss == "softmax":
        raise UserError(
            f'{where} say of several labels whether they are right, but model.loss = "softmax" needs integer '
            "labels; store y.argmax(axis=1) if they are one-hot, or set "
            f'model.loss = "logistic"{wider}'
        )
    if not binary and loss != "squared":
        as_labels = "y.argmax(axis=1) if they are one-hot" if targets > 1 else "y.reshape(-1).astype('int64')"
        raise UserError(
            f'{where} hold float targets, but model.loss = "{loss}" needs integer labels; store {as_labels}, '
            f'or set model.loss = "squared"{wider}'
        )
    if wider:
        raise UserError(
            f"{where} hold {several(targets, 'target')} for each example, but the last layer has "
            f"{_units(outputs)} (model.layers); give it {targets}"
        )


def doubts(description: Description, outputs: int) -> str:
    """Say that the last layer has units that no example is for, and no name; nothing where it has none."""
    seen = description.distinct
    named = description.class_names is not None and not _made(description)
    if description.classes is None or seen is None or named or seen >= outputs:
        return ""
    remedy = f"give it {seen}" if seen == description.classes else f"{RENUMBER}, and give it {_units(seen)}"
    return (
        f"{description.path}: {description.targets_from} hold {several(seen, 'label')}, but the last layer "
        f"has {_units(outputs)} (model.layers), of which {outputs - seen} can learn nothing; {remedy}"
    )


def _made(description: Description) -> bool:
    """Return whether the classes, and so their names, were made of what the file holds."""
    return description.view("train").labels is not None


def suspicions(description: Description, amounts: bool = False) -> Iterator[str]:
    """Yield what labels or targets may be in truth, and what was not meant to be.

    With `amounts` it was said that floats are to be learned as such.
    """
    targets = f"{description.path}: {description.targets_from}"
    train = description.view("train")
    if not train.channels_first and looks_channels_first((0, *description.input_shape)):
        yield (
            f"{description.path}: {train.inputs.strip('/')} has examples of shape {description.input_shape}, "
            'read as (H, W, C): if they are (C, H, W), set data.layout = "channels_first"'
        )
    if description.unused:
        yield (
            f"{description.path}: has rows for validation that are not used; set data.validation = "
            f'"{description.unused}", as the file calls them'
        )
    if description.unlearned:
        names = description.class_names or ()
        labels = [show(names[at]) if at < len(names) else str(at) for at in description.unlearned]
        shown = ", ".join(labels[:MOST_SHOWN]) + (", ..." if len(labels) > MOST_SHOWN else "")
        held_out = "validation and test" if description.validation_rows else "test"
        yield (
            f"{targets} hold {several(len(labels), 'label')} for {held_out} of which train has no example: "
            f"{shown}; nothing is learned of them: cut the file again, at random"
        )
    seen = description.distinct or 0
    if seen == 1:
        yield f"{targets} hold one class only, so there is nothing to tell apart; give rows of others too"
    if seen > MANY_LABELS and description.train_rows < FEW_EXAMPLES * seen:
        yield (
            f"{targets} hold {seen} different integers in {description.train_rows} training rows, and each "
            "is a class of its own; if they are amounts, store y.astype('float32')"
        )
    if description.few_values and not amounts:
        way = "y.astype('int64')" if description.targets == 1 else "y.astype('uint8') if all are 0 or 1"
        yield (
            f"{targets} hold floats, {several(len(description.few_values), 'different whole number')} for "
            f"train, which are learned as amounts: if they are classes, store {way}"
        )


def _remedy(description: Description, classes: int) -> str:
    """Say what to do about labels that are too large, by how many there are."""
    seen = description.distinct
    if seen is None or seen == classes:
        return f"give it {classes}"
    if description.smallest > 0 and seen == classes - description.smallest:
        return f"labels count from 0: store y - {description.smallest} as y, and give it {_units(seen)}"
    return f"there are {several(seen, 'label')}: {RENUMBER}, and give it {_units(seen)}"


def _units(n: int) -> str:
    return several(n, "unit")
