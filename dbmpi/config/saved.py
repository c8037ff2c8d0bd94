"""What a configuration means that an earlier version has saved. Pure.

A run saves all keys there are. So one with every section, but without a key of today, was saved before there
was the key, and goes on meaning what it meant then.
"""

from typing import Any

from dbmpi.config.schema import keys
from dbmpi.config.sections import Config

# What was done before there was a key, where its default is another thing.
BEFORE = {("data", "scaling"): "none", ("model", "init"): "he", ("output", "every_examples"): 0}


def complete(values: dict[str, Any]) -> None:
    """Put into the values of a TOML file, where a run has saved it, what keys that came later stand for."""
    if all(isinstance(values.get(name), dict) for name in keys(Config)):
        for (section, name), value in BEFORE.items():
            values[section].setdefault(name, value)
