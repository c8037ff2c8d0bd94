"""The names of the vectors in a checkpoint's files, which `manifest` explains. Pure."""

import re
from collections.abc import Mapping
from typing import Any

PARAMETER_VECTOR, UPDATES = "parameters", "updates"


_NUMBERED = "vector."


def rule_vector(name: str) -> str:
    """Return the name of the vector that is a state of the learning rule."""
    return f"rule.{name}"


AVERAGE = "average"  # the state that is an average of the parameters (`server.averaging`)
AVERAGE_VECTOR = rule_vector(AVERAGE)


def numbered_vector(number: int) -> str:
    """Return the name of a vector of the batch method."""
    return f"{_NUMBERED}{number}"


def numbered(vectors: Mapping[str, Any]) -> dict[int, Any]:
    """Return the vectors of the batch method among some, by number."""
    names = (name for name in vectors if name.startswith(_NUMBERED))
    return {int(name.removeprefix(_NUMBERED)): vectors[name] for name in names}


def is_vector(name: str) -> bool:
    """Return whether a vector may have this name."""
    return re.fullmatch(r"parameters|rule\.\w+|vector\.\d{1,9}", name, re.ASCII) is not None
