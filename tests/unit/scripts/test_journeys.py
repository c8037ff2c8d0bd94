"""The functions that scripts/journeys waits for are there."""

import importlib
import re

from tests import ROOT


def test_every_function_that_is_waited_for_is_there() -> None:
    text = (ROOT / "scripts" / "journeys" / "table.py").read_text()
    named = re.findall(r'"(?:call |return )?(dbmpi[\w.]+):([\w.]+)"', text)
    assert len(named) > 20
    for module, name in named:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
