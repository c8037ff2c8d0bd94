"""How the keys of the configuration are declared, and what each accepts.

A section is a frozen dataclass, a key one of its fields, declared with `key`. Its annotation and its metadata
say what it accepts; `keys` reads them. The checks, the default file and docs/configuration.md are derived
from them.
"""

import dataclasses
import types
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from dbmpi.text import listed

DEFAULT_FILE = Path(__file__).with_name("default.toml")
Auto = Literal["auto"]
LARGEST_INTEGER = 2**53  # counts stay exact as float64, as JSON and HDF5 readers take them
MOST_RANKS = 100_000  # beyond any cluster; more would only make the assignment of roles slow


@dataclass(frozen=True)
class Key:
    """What one key of a section accepts, and what it is for.

    `kind` is the Python type beside the `words` (bool, int, float or str; a dataclass for a
    subtable, tuple for an array of tables); None where only the words or a pair are accepted.
    `pair` says whether `[rows, columns]` is accepted, `numbers` whether an array of numbers is; the limits
    then hold for each of them.
    """

    name: str
    default: Any
    kind: type | None
    words: tuple[str, ...]
    optional: bool
    pair: bool
    numbers: bool
    doc: str
    unit: str = ""
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    below: float | None = None
    odd: bool = False
    duration: bool = False
    example: Any = None

    @property
    def required(self) -> bool:
        """Whether the key has to be given."""
        return self.default is MISSING

    @property
    def table(self) -> bool:
        """Whether the key is a subtable (`[train.target]`)."""
        return dataclasses.is_dataclass(self.kind)


def key(
    default: Any,
    doc: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
    odd: bool = False,
    duration: bool = False,
    auto: bool = False,
    example: Any = None,
) -> Any:
    """Declare a key: its default, its sentence, and its limits (at least, above, at most, below).

    `auto` says that the word "auto" is accepted too, until the program has put a value of the annotated type
    in its place, before anything of the run is made (`run.plan.choices`).
    """
    metadata = {
        "doc": doc,
        "unit": unit,
        "minimum": minimum,
        "above": above,
        "maximum": maximum,
        "below": below,
        "odd": odd,
        "duration": duration,
        "auto": auto,
        "example": example,
    }
    return field(default=default, metadata=metadata)


def keys(section: type) -> dict[str, Key]:
    """Return the keys of a section, by name, as its annotations and metadata describe them.

    Parameters
    ----------
    section
        `Config`, one of its sections, a subtable, or a type of layer.
    """
    return {f.name: _describe(f) for f in dataclasses.fields(section)}


def _describe(f: "dataclasses.Field[Any]") -> Key:
    parts = get_args(f.type) if get_origin(f.type) in (Union, types.UnionType) else (f.type,)
    metadata: dict[str, Any] = {"doc": summary(f.type), "auto": False} | dict(f.metadata)
    words = tuple(word for part in parts if get_origin(part) is Literal for word in get_args(part))
    words += ("auto",) if metadata.pop("auto") else ()
    pair = any(get_origin(part) is tuple and get_args(part)[-1] is int for part in parts)
    numbers = any(get_origin(part) is tuple and get_args(part)[0] is float for part in parts)
    kinds = [get_origin(part) or part for part in parts if get_origin(part) is not Literal]
    optional = types.NoneType in kinds
    arrays = {tuple} if pair or numbers else set()
    kind = next((kind for kind in kinds if kind is not types.NoneType and kind not in arrays), None)
    return Key(f.name, f.default, kind, words, optional, pair, numbers, **metadata)


def summary(section: Any) -> str:
    """Return the first sentence of a section's docstring."""
    return str(section.__doc__).partition("\n")[0]


def accepts(key: Key) -> str:
    """Say what a key accepts: `an integer of at least 1 or "auto"`."""
    if key.duration:
        return 'a number of seconds above 0, "HH:MM:SS" or "D-HH:MM:SS"'
    names = {int: "an odd integer" if key.odd else "an integer", float: "a number", str: "a string"}
    names[tuple] = "tables"
    limit = _limit(key)
    scalars = ["true", "false"] if key.kind is bool else [names[key.kind]] if key.kind in names else []
    choices = [f"{scalar} {limit}".strip() for scalar in scalars]
    if key.pair:
        choices.append("two of these, [rows, columns]" if scalars else f"[rows, columns], integers {limit}")
    if key.numbers:
        choices.append(f"an array of numbers {limit}")
    return listed(choices + [f'"{word}"' for word in key.words])


def _limit(key: Key) -> str:
    limits = [
        f"of at least {key.minimum:g}" if key.minimum is not None else "",
        f"above {key.above:g}" if key.above is not None else "",
        f"at most {key.maximum:g}" if key.maximum is not None else "",
        f"below {key.below:g}" if key.below is not None else "",
    ]
    return " and ".join(part for part in limits if part)
