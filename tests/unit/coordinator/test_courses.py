"""Runs that go on on other shapes, stop, and lose replicas and coordinators: each row counts once an epoch.

What deaths except is counted, to the row. DBMPI_FUZZ_SEED and DBMPI_FUZZ_CASES make other cases, or more.
"""

import os
from collections import Counter
from random import Random

from tests.doubles.courses import Course
from tests.doubles.shapes import shapes

SEED = int(os.environ.get("DBMPI_FUZZ_SEED", "2026"))
CASES = int(os.environ.get("DBMPI_FUZZ_CASES", "50"))


def assert_every_row_counts(course: Course, epochs: int) -> None:
    """All rows were handed out once, and learned from once, but for those that are counted."""
    every = {(epoch, row) for epoch in range(epochs) for row in range(course.rows)}
    assert set(course.handed) == every and set(course.learned) <= every
    assert sum(course.handed.values()) - len(every) == course.again
    assert sum((course.learned - Counter(every)).values()) <= course.again
    assert len(every) - len(course.learned) <= course.lost


def test_every_row_of_every_epoch_counts_once_over_any_sequence_of_shapes(tmp_path):
    for case in range(CASES):
        draw = Random(f"{SEED} {case}")
        rows, epochs = draw.randint(1, 120), draw.randint(1, 3)
        course, jobs = Course(tmp_path / str(case), rows, draw), shapes(draw, epochs)
        try:
            for shape in jobs:
                course.do(shape)
            assert_every_row_counts(course, epochs)
            if not any(shape.deaths or shape.kill_at >= 0 for shape in jobs):
                assert (course.again, course.lost) == (0, 0)
        except Exception as error:
            raise AssertionError(f"case {case}, {rows} rows: {jobs}") from error
