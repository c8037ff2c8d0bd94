"""What a setting that is none was meant to be: the nearest key that accepts the value. Pure Python.

Names are compared with those of all keys, whole (`train.epochs`) or by their last part (`epochs`). Only what
would be accepted is suggested: the command that a message names works.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dbmpi.config.layers import LAYERS
from dbmpi.config.schema import Key, keys
from dbmpi.config.sections import Config, Model
from dbmpi.config.values import UNSET, from_text, scalar
from dbmpi.text import Trail, close, dotted, listed, show

MOST = 6  # suggestions in a message
# What other programs call these.
ALIASES = {"lr": "learning_rate", "batch_size": "minibatch", "optimizer": "rule", "weight_decay": "l2"}
SEPARATORS = re.compile(r"[\s./:]+")


def every_key(section: Any = Config, trail: Trail = ()) -> Iterator[tuple[Trail, Key]]:
    """Yield all keys below a section, tables too, each with the trail to it."""
    for key in keys(section).values():
        here = (*trail, key.name)
        yield here, key
        if key.table:
            yield from every_key(key.kind, here)


def texts(words: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    """Return what words of the command line were to be: texts `section.key=value`, the most likely first.

    Parameters
    ----------
    words
        One that is no such text, and what follows it.
    values
        The configuration as given: its layers are meant by `layers.0.units`.
    """
    for count in range(1, len(words) + 1):
        name, value = _divided(" ".join(words[:count]))
        if name and value:
            return [f"{dotted(trail)}={value}" for trail in meant(name, value, values)]
    return []


def options(found: Sequence[str]) -> str:
    """Write texts as options: `--set train.epochs=3 or --set ...`."""
    return listed([f"--set {shlex.quote(text)}" for text in found])


def lines(trails: Sequence[Trail], value: Any) -> str:
    """Write keys, and how a file gives the first its value: `train.epochs, as epochs = 3 below [train]`."""
    if not trails:
        return ""
    *above, name = trails[0]
    section = f"[{dotted(tuple(above))}]" if "layers" not in above else "[[model.layers]]"
    return f"{listed([dotted(one) for one in trails])}, as {name} = {show(value)} below {section}"


def is_table(trail: Trail) -> bool:
    """Return whether keys are below a trail, and no value is."""
    return any(known == trail and key.table for known, key in every_key())


def meant(name: Trail, value: Any, values: Mapping[str, Any]) -> list[Trail]:
    """Return the trails of the keys that a name may mean, of those that accept the value.

    Parameters
    ----------
    name
        Its parts.
    value
        As in TOML, or a text of the command line.
    values
        As `texts`.
    """
    known = {trail: key for trail, key in _leaves(values) if _accepts(key, value)}
    return next((found for found in _alike(name, list(known)) if found), [])[:MOST]


def _alike(name: Trail, known: Sequence[Trail]) -> Iterator[list[Trail]]:
    """Yield what is like a name: in less and less ways."""
    name = tuple(part.lower() for part in name)
    leaf = ALIASES.get(name[-1].replace("-", "_"), name[-1].replace("-", "_"))
    whole = {dotted(trail): trail for trail in known}
    yield [trail for trail in known if trail == name]
    yield [trail for trail in known if trail[: len(name)] == name]  # a section
    same = [trail for trail in known if trail[-1] == leaf]
    sections = close(name[0], {trail[0] for trail in same}) if len(name) > 1 else []
    yield [trail for trail in same if trail[0] in sections]
    yield same
    yield [whole[one] for one in close(".".join((*name[:-1], leaf)), whole)][:1]
    leaves = close(leaf, {trail[-1] for trail in known})[:1]
    yield [trail for trail in known if trail[-1] in leaves]


def _divided(text: str) -> tuple[Trail, str]:
    """Divide a text into the parts of a name and a value, whatever stands between them."""
    text = text.strip().lstrip("-")
    if "=" in text:
        name, _, value = text.partition("=")
    elif len(words := text.rsplit(maxsplit=1)) == 2:
        name, value = words
    else:
        name, _, value = text.partition(":")
    return tuple(filter(None, SEPARATORS.split(name))), value.lstrip("=: ").rstrip(", ")


def _accepts(key: Key, value: Any) -> bool:
    try:
        if isinstance(value, str):
            value = from_text(value)
        if not (key.optional and value == UNSET):
            scalar(key, value)
    except ValueError:
        return False
    return True


def _leaves(values: Mapping[str, Any]) -> Iterator[tuple[Trail, Key]]:
    """Yield all keys that have values, those of the layers as well."""
    yield from ((trail, key) for trail, key in every_key() if not key.table and key.kind is not tuple)
    model = values.get("model")
    layers = model.get("layers") if isinstance(model, dict) else None
    given = layers if isinstance(layers, list) else [vars(one) for one in Model().layers]
    for index, layer in enumerate(given):
        kind = LAYERS.get(str(layer.get("type"))) if isinstance(layer, dict) else None
        for key in keys(kind).values() if kind is not None else ():
            if key.name != "activation" or index < len(given) - 1:  # that of the last is the loss's own
                yield ("model", "layers", str(index), key.name), key
