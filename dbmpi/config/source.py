"""A TOML file and the `--set` texts over it: the values as given, and where each was given."""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dbmpi.config import hints
from dbmpi.config.schema import DEFAULT_FILE, keys
from dbmpi.config.sections import Config, Model
from dbmpi.config.values import from_text
from dbmpi.errors import UserError
from dbmpi.files import working_directory
from dbmpi.text import Trail, dotted, show


def read(path: Path) -> bytes:
    """Return what a configuration file holds; a UserError says why it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file (in {working_directory()}); give an existing TOML file, "
            "or none to train the embedded digits"
        ) from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a directory; give a TOML file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read ({reason}); give a readable TOML file") from None


def parse(content: bytes, name: str) -> dict[str, Any]:
    """Return the values of a TOML file; a UserError says where it is no TOML."""
    try:
        # Editors on Windows put a byte-order mark first, which TOML does not know.
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(
            f"{name}: byte {error.start} is not UTF-8 text, so this is no TOML file; "
            f"give a text file like {DEFAULT_FILE}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name}: not valid TOML: {error}; {_instead(str(error))}") from None


def _instead(error: str) -> str:
    """Say what to do about a TOML file that cannot be read."""
    twice = re.match(r"Cannot declare \('(\w+)',\) twice", error)
    if twice is None:
        return f"compare with {DEFAULT_FILE}"
    return f"write all keys of {twice[1]} below one [{twice[1]}], without {twice[1]}. before them"


def _first(trail: Trail, value: Any) -> tuple[Trail, Any]:
    """Return the first value of a table, which tells where the table comes from, and the trail to it."""
    while isinstance(value, dict) and value:
        first, value = next(iter(value.items()))
        trail = (*trail, first)
    return trail, value


class Source:
    """The values as given, and where each was given."""

    def __init__(self, name: str, values: dict[str, Any]) -> None:
        self.name = name
        self.values = values
        self.overridden: list[Trail] = []

    def place(self, trail: Trail, value: Any = None) -> str:
        """Name the place of a key and its value: the file, or the override that set it."""
        leaf, _ = _first(trail, value)
        overridden = any(given == leaf[: len(given)] for given in self.overridden)
        return f"--set {dotted(trail)}" if overridden else f"{self.name}: {dotted(trail)}"

    def hint(self, trail: Trail, value: Any, near: str) -> str:
        """Say in parentheses what an unknown key may have been; `near`: the one in its section, if any."""
        leaf, _ = _first(trail, value)
        name = trail[-1]
        if leaf not in self.overridden and (near or trail[:2] == ("model", "layers")):
            return near  # a layer of another type may have such a key
        if leaf not in self.overridden and name in keys(Config):
            return f" ({name} is a section of its own: begin it with [{name}])"
        meant = self.instead(trail, value)
        return f" (did you mean {meant}?)" if meant else near

    def written(self, trail: Trail, text: str) -> str:
        """Write a value as it would be given there."""
        if trail in self.overridden:
            return hints.options([f"{dotted(trail)}={text}"])
        return f"{dotted(trail)} = {show(from_text(text))}"

    def instead(self, trail: Trail, value: Any) -> str:
        """Say what may have been meant by a key that there is not, as it would be given there."""
        leaf, value = _first(trail, value)
        found = hints.meant(leaf, value, self.values)
        if leaf not in self.overridden:
            return hints.lines(found, value)
        value = show(value) if not isinstance(value, str) else value
        return hints.options([f"{dotted(one)}={value}" for one in found])

    def override(self, texts: Sequence[str], number: int) -> None:
        """Apply one of the texts `section.key=value` of a command line."""
        text = texts[number]
        key, equals, value = text.partition("=")
        trail = tuple(part.strip() for part in key.split("."))
        if not equals or len(trail) < 2 or not all(trail):
            begun = number > 0 and texts[number - 1].endswith("=")  # key= value
            raise self._malformed(key.strip(" ."), texts[number - begun :])
        if re.match(r"[\w.-]+,[a-z]+\.[\w.]+=", value):
            raise UserError(
                f"--set {show(text)}: settings are separated by spaces, not by commas: "
                f"--set {' '.join(text.split(','))}"
            )
        self.overridden.append(trail)
        try:
            self._assign(trail, from_text(value))
        except ValueError as problem:
            raise UserError(f"--set {dotted(trail)} = {show(value.strip())} {problem}") from None

    def _malformed(self, key: str, texts: Sequence[str]) -> UserError:
        """Make the error for a text that is no `section.key=value`; `texts` are it and those that follow."""
        meant = hints.texts(texts[:3], self.values)
        how = "give section.key=value, without spaces around ="
        if meant and key in keys(Config):
            how = f"{key} is a section; give one of its keys: {hints.options(meant)}"
        elif meant:
            how = f"{how}: did you mean {hints.options(meant)}?"
        else:
            how = f"{how}, as in --set train.minibatch=32"
        return UserError(f"--set {show(texts[0])}: {how}")

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
            f"--set {dotted((*above, part))}: there is no number {part} in {dotted(above)}, which has "
            f"{len(node)} (from 0); give one of these, or the whole array"
        )

    def _no_table(self, node: Any, trail: Trail) -> Any:
        how = f"has no keys below it; set {dotted(trail)} itself"
        if hints.is_table(trail):
            how = f"should be a table; give {self.instead(trail, node) or f'keys below [{dotted(trail)}]'}"
        raise UserError(f"{self.place(trail)} = {show(node)} {how}")
