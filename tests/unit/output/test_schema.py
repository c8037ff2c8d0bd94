"""The tables of records: the page, and what was written by version 0.1.0."""

import json
from typing import Any

import pytest

from dbmpi.logs.run import open_run
from dbmpi.output.records_page import page
from dbmpi.output.schema import ABOUT, KINDS, SUMMARY, fields_of
from tests import ROOT
from tests.doubles.record_fields import fits, wrong, wrong_records
from tests.doubles.recorded import whole

SAVED = sorted((ROOT / "tests" / "saved").glob("*/*/"))


def test_the_page_is_that_of_the_tables():
    assert (ROOT / "docs" / "records.md").read_text() == page()


def test_the_page_tells_how_to_leave_out_what_was_done_again(tmp_path, monkeypatch):
    path = whole(tmp_path / "runs" / "a")
    with (path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "tra')  # of a job that was killed
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(page().partition("```python\n")[2].partition("```")[0], found)
    kept = [one["time_s"] for one in found["records"] if one["kind"] == "train"]
    assert kept == open_run(path).records("train").valid.column("time_s").tolist() == list(range(1, 61))


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_of_a_known_type_and_said_once(kind):
    fields = fields_of(kind)
    assert len({one.name for one in fields}) == len(fields)
    assert not [
        one for one in fields if one.type.strip("[]{}?") not in ("int", "float", "bool", "str", "any")
    ]


@pytest.mark.parametrize("run", SAVED, ids=lambda path: path.name)
def test_records_of_an_earlier_version_are_in_the_tables(run):
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert wrong_records([json.loads(line) for line in lines]) == []
    assert list(wrong(json.loads((run / "summary.json").read_text()), SUMMARY, version=1)) == []


def test_what_is_in_no_table_or_of_another_type_is_seen():
    """The guard itself."""
    common = {"time_s": 0.0, "step": 1, "examples": 1}
    assert wrong_records([{"kind": "event", **common, "text": "a", "odd": 1}]) == [
        "event: odd is in no table"
    ]
    began = {"kind": "job", **common, "began": True, "partitions": 1, "wall_s": 1.0, "at": "", "schema": 2}
    assert wrong_records([began, {"kind": "event", **common, "text": "a"}]) == ["event: about is absent"]
    assert wrong_records([{"kind": "event", **common, "about": "other"}]) == ["event: about is in no table"]
    assert wrong_records([{"kind": "event", **common, "text": 1}]) == ["event: text = 1 is no str"]
    assert fits([1, None], "[int?]") and not fits([1, None], "[int]") and not fits(True, "int")
    assert fits({"a": [[1.5, None]]}, "{[[float?]]}") and "death" in ABOUT
