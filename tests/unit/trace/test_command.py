"""The command line: what it prints, and mistakes."""

import gzip
import json
import os
import sys
import threading

import pytest

from dbmpi.comm.wait import Cause
from dbmpi.spans import Kind, Recorder
from dbmpi.trace.command import main
from tests.unit.trace.ranks import leave


@pytest.fixture
def run(tmp_path):
    """A run directory with the trace of one of two ranks, whose memory was full, on another host."""
    spans = Recorder(1)
    for n in range(spans.capacity + 5):
        spans.step((Kind.WAIT, float(n), n + 0.5, Cause.DATA))
    leave(tmp_path, spans, rank=1, ranks=2, offsets=[[5.0, 2e-5, 0.0]])
    return tmp_path


def test_what_is_missing_is_told(run, capsys):
    assert main([str(run), "--json"]) == 0
    told = capsys.readouterr()
    assert "dropped: 5 older records: 1 rank had no more memory" in told.out
    assert "(output.trace_mib = 1)\nwhole: the last 26213.00 s" in told.out and "agree to 20.0 us" in told.out
    assert told.err == "dbmpi: warning: nothing is there of rank 0: a rank that is killed leaves no trace\n"


def test_without_perfettos_package_one_line_names_it_and_the_other_way(run, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "dbmpi.trace.perfetto_file", raising=False)
    monkeypatch.setitem(sys.modules, "perfetto", None)
    assert main([str(run)]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "pip install perfetto" in told and "--json" in told


def test_a_place_that_cannot_be_written_is_one_line(run, capsys):
    assert main([str(run), "--json", "-o", str(run / "no" / "such\nplace")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "its folder is not there" in told


def test_what_is_no_trace_is_not_replaced(run, capsys):
    records = run / "metrics.jsonl"
    records.write_text("{}")
    assert main([str(run), "--json", "-o", str(records)]) == 2
    assert "is there already, and no trace" in capsys.readouterr().err and records.read_text() == "{}"
    for _ in range(2):
        assert main([str(run), "--json"]) == 0


def test_a_pipe_is_written_to(run):
    pipe = run / "pipe"
    os.mkfifo(pipe)
    content = []
    reader = threading.Thread(target=lambda: content.append(pipe.read_bytes()))
    reader.start()
    assert main([str(run), "--json", "-o", str(pipe)]) == 0
    reader.join(10)
    assert json.loads(gzip.decompress(content[0]))["traceEvents"] and pipe.is_fifo()
