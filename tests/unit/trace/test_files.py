"""The file of a rank: the newest records, and what is left out of it; damage; the clocks of hosts."""

import json
import os
import shutil

import pytest

from dbmpi.errors import UserError
from dbmpi.spans import BYTES, MIB, OFF, Kind, Recorder, recorder
from dbmpi.trace.files import open_job
from dbmpi.trace.rank_file import RECORDS
from dbmpi.trace.writing import look
from tests.unit.trace.ranks import leave


def test_the_layout_is_that_of_the_records():
    assert RECORDS.itemsize == BYTES


def test_off_is_a_twin_that_does_nothing():
    assert recorder(False, 16) is OFF
    OFF.add((Kind.WAIT, 0.0, 1.0, 0))
    OFF.step((Kind.FORWARD, 0.0, 1.0, 0))
    OFF.note(Kind.SERVE, 0.0, 1.0)
    assert (OFF.serial(1, 2), OFF.serial(1, 2), OFF.on) == (0, 0, False)


def test_memory_is_bounded_and_the_newest_records_are_kept(tmp_path):
    spans = Recorder(1)
    assert spans.capacity * BYTES <= MIB
    made = spans.capacity + 1000
    for n in range(made):
        spans.step((Kind.FORWARD, float(n), n + 0.5, n))
    leave(tmp_path, spans)
    job = open_job(tmp_path, None)
    (file,) = job.files
    assert (file.kept, file.dropped) == (spans.capacity, 1000)
    records = file.read()
    assert records["value"].tolist() == list(range(1000, made))
    window, _ = look(job)
    assert (window.first_s, window.whole_s, window.last_s) == (1000.0, 1000.5, made - 0.5)


def test_records_of_both_kinds_are_kept_in_full(tmp_path):
    spans = Recorder(1)
    spans.add((Kind.WAIT, 1.0, 2.0, 5))
    spans.note(Kind.SERVE, 2.0, 3.0, 3, 4, 5, 6, (1 << 31) + 7, 8)
    leave(tmp_path, spans)
    (file,) = open_job(tmp_path, None).files
    assert file.read().tolist() == [
        (Kind.WAIT, 0, -1, 1.0, 2.0, -1, 0, 0, 5), (Kind.SERVE, 3, 4, 2.0, 3.0, 5, 6, 7, 8),
    ]  # fmt: skip


def test_both_sides_of_an_exchange_count_alike():
    client, shard = Recorder(1), Recorder(1)
    assert [client.serial(1, 5), client.serial(1, 5), client.serial(2, 5)] == [0, 1, 0]
    assert [shard.serial(3, 5), shard.serial(3, 5), shard.serial(4, 5)] == [0, 1, 0]


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [([[100.0, 0.1, 10.0]], [110.0, 120.0]), ([[100.0, 0.1, 10.0], [102.0, 0.2, 20.0]], [110.0, 122.0])],
)
def test_times_are_put_on_the_clock_of_rank_0(tmp_path, offsets, expected):
    spans = Recorder(1)
    spans.add((Kind.WAIT, 10.0, 20.0, 0))
    leave(tmp_path, spans, offsets=offsets)
    (file,) = open_job(tmp_path, None).files
    record = file.read()[0]
    assert [record["start"], record["stop"]] == pytest.approx(expected)
    assert file.error_s == max(error for _, error, _ in offsets)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-7],
        lambda content: content[:20],
        lambda content: b"",
        lambda content: b"something else" + content,
        lambda content: content.replace(b'"causes"', b'"clauses"'),
        lambda content: content.replace(b'"kept": 3', b'"kept": 4'),
        lambda content: content.replace(b'"kept": 3', b'"kept": 1e999'),
        lambda content: content.replace(b'"node": 0', b'"node": 1e30'),
        lambda content: content.replace(b'"ranks": 2', b'"ranks": 1000000000000'),
        lambda content: content.replace(b'"offsets": [[0.0,', b'"offsets": [[NaN,'),
        lambda content: content.replace(b'"causes": {', b'"causes": {"1000000000000": "",'),
        lambda content: content.replace(b'"host": "here"', b'"host": ' + 100_000 * b"["),
        lambda content: content[:-32] + b"\xff" * 8 + content[-24:],  # a time that is none
        lambda content: content[:-4] + b"\xff" * 4,  # a wait for what is numbered -1
    ],
)
def test_a_file_that_is_damaged_is_left_out_and_named(tmp_path, damage):
    for rank in (0, 1):
        spans = Recorder(1)
        for _ in range(3):
            spans.add((Kind.WAIT, 1.0, 2.0, 0))
        path = leave(tmp_path, spans, rank=rank, ranks=2)
    path.write_bytes(damage(path.read_bytes()))
    job = open_job(tmp_path, None)
    assert [file.rank for file in job.files] == [0]
    assert any(str(path) in problem for problem in job.problems)
    assert any("of rank 1" in problem for problem in job.problems)
    (tmp_path / "trace" / "000001" / "rank-00000.bin").unlink()
    with pytest.raises(UserError, match="rank-00001.bin is no trace"):
        open_job(tmp_path, None)


@pytest.mark.parametrize(
    ("changed", "told"),
    [({"rank": 1, "ranks": 3}, "is of a job of 3 ranks"), ({"rank": 0}, "is of rank 0, as")],
)
def test_what_is_of_another_run_is_left_out(tmp_path, changed, told):
    path = leave(tmp_path, Recorder(1), rank=0, ranks=2)
    copied = leave(tmp_path / "other", Recorder(1), **({"ranks": 2} | changed))
    shutil.copy(copied, path.with_name("rank-00001.bin"))
    job = open_job(tmp_path, None)
    assert len(job.files) == 1 and told in job.problems[0] and "nothing is there of rank 1" in job.problems[1]


def test_what_is_no_file_is_left_out_and_not_waited_for(tmp_path):
    place = leave(tmp_path, Recorder(1)).parent
    os.mkfifo(place / "rank-00001.bin")
    (place / "rank-00002.bin").mkdir()
    job = open_job(tmp_path, None)
    assert len(job.files) == 1 and ["it is no file" in problem for problem in job.problems] == [True, True]


@pytest.mark.parametrize(
    ("configuration", "told"),
    [
        ("", "has no trace: record one with --set output.trace=true"),
        ("[output]\ntrace = true", "has no trace yet: its ranks write it when they leave"),
        ("[output", "has no trace: record one"),
        (None, "is no run directory"),
    ],
)
def test_a_run_without_a_trace_is_one_message(tmp_path, configuration, told):
    if configuration is not None:
        (tmp_path / "config.toml").write_text(configuration)
    with pytest.raises(UserError, match=told):
        open_job(tmp_path, None)


def test_the_header_is_json(tmp_path):
    path = leave(tmp_path, Recorder(1))
    said = json.loads(path.read_bytes().split(b"\n")[1])
    assert (said["kept"], said["dropped"], said["rank"]) == (0, 0, 0) and said["kinds"]["4"] == "exchange"
    _, shares = look(open_job(tmp_path, None))
    assert shares[0].span_s == 0.0
