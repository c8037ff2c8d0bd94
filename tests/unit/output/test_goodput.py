"""Goodput: the time of all jobs from the records of metrics.jsonl, and what share of the gradients counts."""

import json

import pytest

from dbmpi.output.goodput import Fate, Room, earlier_s, goodput


def job(wall_s, time_s, partitions=2, began=True):
    record = {"kind": "job", "began": began, "partitions": partitions, "wall_s": wall_s, "time_s": time_s}
    return json.dumps(record) + "\n"


def train(time_s):
    return json.dumps({"kind": "train", "time_s": time_s}) + "\n"


def test_a_job_has_lasted_from_its_launch_to_its_last_record():
    assert earlier_s([job(1.5, 0.0), train(2.0), train(4.0)]) == 2 * (1.5 + 4.0)


def test_jobs_add_up_with_the_partitions_that_each_had():
    lines = [
        job(1.0, 0.0),
        train(4.0),
        job(2.0, 3.0, partitions=6),
        train(5.0),
    ]  # which goes on from second 3
    assert earlier_s(lines) == 2 * (1.0 + 4.0) + 6 * (2.0 + 2.0)


def test_the_record_of_the_end_is_no_other_job():
    assert earlier_s([job(1.0, 0.0), train(4.0), job(5.5, 4.5, began=False)]) == 2 * (1.0 + 4.5)


@pytest.mark.parametrize("line", ["", '{"kind": "tra', "7\n", '{"kind": "job", "began": true}\n', "null\n"])
def test_lines_that_are_no_records_make_no_error(line):
    assert earlier_s([line]) == 0.0
    assert earlier_s([job(1.0, 0.0), train(4.0), line]) <= 2 * (1.0 + 4.0)


def test_nothing_is_known_of_jobs_without_records_but_the_wall_time_of_the_checkpoint():
    assert Room(4, earlier_s([train(3.0)])).after(10.0).available_s(5.0) == 4 * 15.0
    assert Room(4, 7.0).after(10.0).available_s(5.0) == 7.0 + 4 * 5.0


def test_what_was_lost_does_not_count():
    assert Fate(100, 0, 50, 0).applied == 1.0
    assert Fate(100, 10, 50, 0).applied == 0.9
    assert Fate(100, 10, 30, 30).applied == pytest.approx(0.45)
    assert Fate(100, 0, 0, 0).applied == 1.0  # a batch method
    assert Fate(100, 0, 0, 5).applied == 0.0  # all were refused
    assert Fate(0, 0, 0, 0).applied == 0.0


def test_without_time_there_is_no_goodput():
    assert goodput(1.0, 4.0) == 0.25
    assert goodput(0.0, 0.0) is None
