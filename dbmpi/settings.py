"""From a TOML file and `--set` to a checked `Config`. Pure Python, without MPI.

What is allowed stands in `dbmpi.config`; here it is enforced. Every mistake is a `UserError` that
names the place (`run.toml: train.minibatch`, `--set train.minibatch`), the value and the remedy.
"""

import datetime
import difflib
import json
import math
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from dbmpi.config import LARGEST_INTEGER, LAYERS, Config, Key, Model, accepts, keys, listed
from dbmpi.errors import UserError

Trail = tuple[str, ...]  # ("train", "target", "accuracy")
UNSET = "none"  # the word that unsets an optional key
SHOWN = 60  # characters of a value in a message
DEFAULT_FILE = Path(__file__).with_name("default.toml")
DURATION = re.compile(r"(?:(\d{1,6})-)?(\d{1,6}):([0-5]\d):([0-5]\d)")


def load(path: str | PathLike[str] | None, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file, apply `--set` overrides, and check everything.

    Parameters
    ----------
    path
        The TOML file; None for the defaults.
    overrides
        Texts `section.key=value`; later ones win.

    Raises
    ------
    UserError
        For anything that is wrong with the file, a key or a value.
    """
    if path is None:
        return loads(b"", overrides, "the defaults")
    return loads(_read(Path(path)), overrides, str(path))


def loads(content: bytes, overrides: Sequence[str] = (), name: str = "the configuration") -> Config:
    """Check a configuration given as the bytes of a TOML file; `name` is its place in messages.

    Raises
    ------
    UserError
        As `load`.
    """
    source = _Source(name, _parse(content, name))
    for override in overrides:
        source.override(override)
    return _resolve(source)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file (in {Path.cwd()}); give an existing TOML file, "
            "or none to train the embedded digits"
        ) from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a directory; give a TOML file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read ({reason}); give a readable TOML file") from None


def _parse(content: bytes, name: str) -> dict[str, Any]:
    try:
        # Editors on Windows put a byte-order mark first, which TOML does not know.
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(
            f"{name}: byte {error.start} is not UTF-8 text, so this is no TOML file; "
            f"give a text file like {DEFAULT_FILE}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name}: not valid TOML: {error}; compare with {DEFAULT_FILE}") from None


class _Source:
    """The values as given, and where each was given."""

    def __init__(self, name: str, values: dict[str, Any]) -> None:
        self.name = name
        self.values = values
        self.overridden: list[Trail] = []

    def place(self, trail: Trail, value: Any = None) -> str:
        """Name the place of a key and its value: the file, or the override that set it."""
        leaf = trail
        while isinstance(value, dict) and value:  # a table comes from where its first value comes from
            first, value = next(iter(value.items()))
            leaf = (*leaf, first)
        overridden = any(given == leaf[: len(given)] for given in self.overridden)
        return f"--set {_dotted(trail)}" if overridden else f"{self.name}: {_dotted(trail)}"

    def override(self, text: str) -> None:
        """Apply one `section.key=value`."""
        key, equals, value = text.partition("=")
        trail = tuple(part.strip() for part in key.split("."))
        if not equals or len(trail) < 2 or not all(trail):
            raise UserError(
                f"--set {_show(text)}: give section.key=value, without spaces around =, "
                "as in --set train.minibatch=32"
            )
        self.overridden.append(trail)
        self._assign(trail, _value(value, f"--set {_dotted(trail)}"))

    def _assign(self, trail: Trail, value: Any) -> None:
        if trail[:2] == ("model", "layers") and len(trail) > 2:
            # An index counts into the default layers where the file gives none.
            model = self.values.setdefault("model", {})
            if isinstance(model, dict):
                model.setdefault("layers", [dict(vars(layer)) for layer in Model().layers])
        node: Any = self.values
        for depth, part in enumerate(trail[:-1]):
            node = self._step(node, part, trail[:depth])
        if isinstance(node, list):
            node[self._index(node, trail[-1], trail[:-1])] = value
        elif isinstance(node, dict):
            node[trail[-1]] = value
        else:
            self._no_table(node, trail[:-1])

    def _step(self, node: Any, part: str, above: Trail) -> Any:
        if isinstance(node, list):
            return node[self._index(node, part, above)]
        if isinstance(node, dict):
            return node.setdefault(part, {})
        return self._no_table(node, above)

    def _index(self, node: list[Any], part: str, above: Trail) -> int:
        if part.isascii() and part.isdigit() and len(part) < 9 and int(part) < len(node):
            return int(part)
        raise UserError(
            f"--set {_dotted((*above, part))}: there is no number {part} in {_dotted(above)}, which has "
            f"{len(node)} (from 0); give one of these, or the whole array"
        )

    def _no_table(self, node: Any, trail: Trail) -> Any:
        raise UserError(
            f"{self.place(trail)} = {_show(node)} has no keys below it; set {_dotted(trail)} itself"
        )


def _value(text: str, place: str) -> Any:
    """Read the value of an override as TOML; what is no TOML is a bare word, taken as a string."""
    text = text.strip()
    try:
        parsed = tomllib.loads(f"value = {text}")
    except RecursionError:
        raise UserError(f"{place} = {_show(text)} is nested too deeply; give a TOML value") from None
    except ValueError as error:
        if text[:1] in tuple("[{\"'"):
            raise UserError(f"{place} = {_show(text)} is not valid TOML: {error}") from None
        return text
    return parsed["value"] if parsed.keys() == {"value"} else text


def _resolve(source: _Source) -> Config:
    config: Config = _build(Config, source.values, (), source)
    _check_stopping(config, source)
    train, given = config.train, source.values.get("train", {})
    limits = (train.steps, train.max_time, train.target.accuracy, train.target.loss)
    if "epochs" not in given and any(limit is not None for limit in limits):
        config = replace(config, train=replace(train, epochs=None))
    _check_output_layer(config, source)
    return config


def _build(section: Any, table: Any, trail: Trail, source: _Source) -> Any:
    """Make a section's dataclass from its table, key by key."""
    known = keys(section)
    if not isinstance(table, dict):
        example = listed([f"{_dotted(trail)}.{name}" for name in known][:3])
        raise UserError(f"{source.place(trail)} = {_show(table)} should be a table; give {example}")
    for name in table:
        if name not in known:
            raise _unknown(name, table[name], section, trail, source)
    values = {name: _convert(known[name], value, (*trail, name), source) for name, value in table.items()}
    for key in known.values():
        if key.required and key.name not in values:
            raise UserError(f"{source.place((*trail, key.name))} is missing; give {accepts(key)}")
    return section(**values)


def _convert(key: Key, value: Any, trail: Trail, source: _Source) -> Any:
    if key.table:
        return _build(key.kind, value, trail, source)
    if key.kind is tuple:
        return _layers(value, trail, source)
    if key.optional and value == UNSET:
        return None
    try:
        return _scalar(key, value)
    except ValueError as problem:
        place = source.place(trail, value)
        raise UserError(f"{place} = {_show(value)} {problem}; {_remedy(key, value)}") from None


def _layers(value: Any, trail: Trail, source: _Source) -> tuple[Any, ...]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise UserError(
            f"{source.place(trail, value)} = {_show(value)} should be an array of tables; "
            f"write [[{_dotted(trail)}]], with two brackets, over each layer"
        )
    if not value:
        raise UserError(f"{source.place(trail)} = [] leaves no layer; give at least the output layer")
    layers = []
    for index, table in enumerate(value):
        here = (*trail, str(index))
        kind = table.get("type")
        if not isinstance(kind, str) or kind not in LAYERS:
            given = "is missing" if kind is None else f"= {_show(kind)} is no type of layer"
            choices = listed([f'"{name}"' for name in LAYERS])
            raise UserError(
                f"{source.place((*here, 'type'))} {given}; give {choices}{_nearest(kind, LAYERS)}"
            )
        layers.append(_build(LAYERS[kind], table, here, source))
    return tuple(layers)


def _scalar(key: Key, value: Any) -> Any:
    """Return the value in the key's type; a ValueError says what is wrong with it."""
    if isinstance(value, str) and value in key.words:
        return value
    if key.duration and not isinstance(value, int | float):
        value = _seconds(value)
    if key.kind is float and type(value) is int:
        value = _as_float(value)
    if key.kind is None or type(value) is not key.kind:
        misspelt = isinstance(value, str) and key.words
        raise ValueError("is not one of its values" if misspelt else f"is {_type(value)}")
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, int | float):
        _check_limits(key, value)
    return value


def _seconds(value: Any) -> float:
    """Turn "HH:MM:SS", "D-HH:MM:SS" or a TOML time into seconds."""
    text = value.isoformat() if isinstance(value, datetime.time) else value
    match = DURATION.fullmatch(text.split(".")[0]) if isinstance(text, str) else None
    if match is None:
        raise ValueError("is no duration")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueError("is too large") from None


def _check_text(value: str) -> None:
    if not value:
        raise ValueError("is empty")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        raise ValueError("has control characters, or is not UTF-8")


def _check_limits(key: Key, value: float) -> None:
    if isinstance(value, float) and not math.isfinite(value):  # an integer can be too large to ask
        raise ValueError("is not a finite number")
    low = key.minimum is not None and value < key.minimum
    high = key.maximum is not None and value > key.maximum
    if low or (key.above is not None and value <= key.above):
        raise ValueError("is too small")
    if high or (key.below is not None and value >= key.below):
        raise ValueError("is too large")
    if key.kind is int and value > LARGEST_INTEGER:
        raise ValueError(f"is above {LARGEST_INTEGER}")


def _remedy(key: Key, value: Any) -> str:
    if key.unit == "fraction" and type(value) in (int, float) and 1 < value <= 100:
        return f"give a fraction: {value / 100:g} for {value:g} %"
    if key.kind is str and not isinstance(value, str):
        return f'give a string, in quotes: "{_show(value)}"'
    unit = "" if key.duration or key.kind not in (int, float) or not key.unit else f" ({key.unit})"
    none = f', or "{UNSET}"' if key.optional else ""
    return f"give {accepts(key)}{unit}{none}{_nearest(value, key.words)}"


def _unknown(name: str, value: Any, section: Any, trail: Trail, source: _Source) -> UserError:
    """Make the error for a key that does not exist, with the nearest one or the section it is in."""
    place = source.place((*trail, name), value)
    what = "section" if section is Config else "key"
    hint = _nearest(name, keys(section)) or _elsewhere(name)
    names = ", ".join(keys(section))
    return UserError(f"{place}: there is no such {what}{hint}; {_dotted(trail) or 'the sections'}: {names}")


def _nearest(word: Any, candidates: Iterable[str]) -> str:
    if not isinstance(word, str):
        return ""
    match = difflib.get_close_matches(word[:SHOWN].lower(), list(candidates), n=1)
    return f" (did you mean {json.dumps(match[0])}?)" if match else ""


def _elsewhere(name: str) -> str:
    homes = [_dotted(trail) for trail in _every_key(Config, ()) if trail[-1] == name]
    return f" (did you mean {listed(homes)}?)" if homes else ""


def _every_key(section: Any, trail: Trail) -> list[Trail]:
    found = []
    for key in keys(section).values():
        found.append((*trail, key.name))
        if key.table:
            found += _every_key(key.kind, found[-1])
    return found


def _check_stopping(config: Config, source: _Source) -> None:
    train, evaluation = config.train, config.evaluation
    target = train.target.accuracy is not None or train.target.loss is not None
    if train.epochs is None and train.steps is None and train.max_time is None and not target:
        raise UserError(
            f'{source.place(("train", "epochs"))} = "{UNSET}" leaves no way to stop; '
            "give train.epochs, train.steps, train.max_time or train.target"
        )
    if target and not evaluation.every_epochs and not evaluation.every_s:
        raise UserError(
            f"{source.place(('evaluation', 'every_epochs'))} = 0 leaves train.target without evaluations "
            "that could reach it; give evaluation.every_epochs or evaluation.every_s"
        )


def _check_output_layer(config: Config, source: _Source) -> None:
    model = config.model
    last = model.layers[-1]
    if model.loss == "squared" or last.activation == "identity":
        return
    function = {"softmax": "the softmax", "logistic": "the sigmoid"}[model.loss]
    trail = ("model", "layers", str(len(model.layers) - 1), "activation")
    raise UserError(
        f'{source.place(trail)} = "{last.activation}" on the last layer, but model.loss = "{model.loss}" '
        f'applies {function} to its output itself; give "identity" there, or model.loss = "squared"'
    )


def _dotted(trail: Trail) -> str:
    return ".".join(part if re.fullmatch(r"[\w-]+", part) else _show(part) for part in trail)


def _show(value: Any) -> str:
    """Write a value for a message: as in TOML where that is easy, short, on one line."""
    try:
        text = json.dumps(value) if isinstance(value, bool | str) else str(value)
    except (ValueError, RecursionError):
        return "a huge value"
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def _type(value: Any) -> str:
    names = {bool: "true or false", int: "an integer", float: "a floating-point number", str: "a string"}
    names |= {list: "an array", dict: "a table"}
    return names.get(type(value), "a date or time")
