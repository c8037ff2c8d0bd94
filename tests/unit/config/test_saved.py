"""A configuration that an earlier version has saved goes on meaning what it meant."""

import re

import pytest

from dbmpi.config.load import load, loads
from dbmpi.config.toml import to_toml
from tests import ROOT

SAVED = sorted((ROOT / "tests" / "saved").glob("*/*/config.toml"))


@pytest.mark.parametrize("path", SAVED, ids=str)
def test_inputs_stay_as_the_file_says_unless_something_is_set(path):
    assert "scaling" not in path.read_text()
    assert load(path).data.scaling == "none" and load(path).model.init == "he"
    assert load(path, ["data.scaling=columns"]).data.scaling == "columns"


def test_what_today_saves_and_what_a_user_writes_is_taken_as_it_is():
    today = load(None, ["data.scaling=all"])
    assert loads(to_toml(today).encode()) == today
    assert loads(b'[data]\npath = "a.h5"\n').data.scaling == "auto"
    without_output = re.sub(r"\[output\][^[]*", "", SAVED[0].read_text())
    assert loads(without_output.encode()).data.scaling == "auto"
