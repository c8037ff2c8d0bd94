"""What an evaluation counts beside the loss."""

from types import SimpleNamespace

import numpy as np

from dbmpi.data.measures import Measures
from dbmpi.model.figures import Figures
from kernels.losses.softmax import ARGMAX


def test_an_answer_that_is_not_a_number_is_none_of_the_classes() -> None:
    """As of a run that has diverged: its end is told, and it does not fail by what it counts."""
    measures, merged_4B = Measures("classes", 2), np.zeros((4, 4), np.float32)
    merged_4B[ARGMAX] = 0, -1, 1, -1
    figures, labels_B = np.zeros(measures.full_size), np.array([0, 0, 1, 1])
    Figures(measures, 0, 0).add(SimpleNamespace(merged=merged_4B), None, labels_B, figures)
    said = measures.shown(figures.tolist(), 4)
    assert said["confusion"] == [[1, 0], [0, 1]] and said["recall"] == [0.5, 0.5]
