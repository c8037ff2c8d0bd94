"""A TOML file and the `--set` texts over it: the values as given, and where each was given."""

import tomllib
from pathlib import Path
from typing import Any

from dbmpi.config.schema import DEFAULT_FILE
from dbmpi.config.sections import Model
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
        raise UserError(f"{name}: not valid TOML: {error}; compare with {DEFAULT_FILE}") from None


class Source:
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
        return f"--set {dotted(trail)}" if overridden else f"{self.name}: {dotted(trail)}"

    def override(self, text: str) -> None:
        """Apply one `section.key=value`."""
        key, equals, value = text.partition("=")
        trail = tuple(part.strip() for part in key.split("."))
        if not equals or len(trail) < 2 or not all(trail):
            raise UserError(
                f"--set {show(text)}: give section.key=value, without spaces around =, "
                "as in --set train.minibatch=32"
            )
        self.overridden.append(trail)
        self._assign(trail, _value(value, f"--set {dotted(trail)}"))

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
        raise UserError(
            f"{self.place(trail)} = {show(node)} has no keys below it; set {dotted(trail)} itself"
        )


def _value(text: str, place: str) -> Any:
    """Read the value of an override as TOML; what is no TOML is a bare word, taken as a string."""
    text = text.strip()
    try:
        parsed = tomllib.loads(f"value = {text}")
    except RecursionError:
        raise UserError(f"{place} = {show(text)} is nested too deeply; give a TOML value") from None
    except ValueError as error:
        if text[:1] in tuple("[{\"'"):
            raise UserError(f"{place} = {show(text)} is not valid TOML: {error}") from None
        return text
    return parsed["value"] if parsed.keys() == {"value"} else text
