"""What evaluations measure: against scikit-learn, or plain numpy, however the rows are divided."""

import numpy as np
import pytest

from dbmpi.config.layers import Dense
from dbmpi.data.measures import Measures
from dbmpi.layout.network import from_layers
from dbmpi.layout.partitioning import Partitioning
from dbmpi.model.boundary import Boundary, Peers
from dbmpi.model.figures import Figures
from dbmpi.model.workspace import Workspace
from kernels.losses import softmax

RNG = np.random.default_rng(11)
B, UNITS = 30, 7


def counted(measures: Measures, outputs: np.ndarray, targets: np.ndarray, loss: str) -> np.ndarray:
    """Return the figures of rows, counted in two minibatches."""
    plan = Partitioning(from_layers([Dense(units=UNITS)], 2, loss), 1)
    figures, counts = np.zeros(measures.size), Figures(measures, 0, 0)
    for rows in (slice(0, 11), slice(11, B)):
        y_OB, t = outputs[rows].T, targets[rows] if targets.ndim == 1 else targets[rows].T
        workspace = Workspace(plan, 0, y_OB.shape[1], np.dtype("f8"))
        workspace.output[...] = y_OB
        if targets.ndim == 1:
            softmax.softmax_stats(workspace.output, 0, t, workspace.stats[0])
            softmax.merge_stats(workspace.stats, workspace.merged)
        counts.add(workspace, Boundary(Peers(), plan, 0, workspace, targets.ndim == 1), t, figures)
    return figures


def test_classes():
    logits, labels = RNG.normal(size=(B, UNITS)), RNG.integers(0, UNITS - 1, B)  # one class has no rows
    logits[:4] = 1.0  # of equal ones the first wins
    found = Measures("classes", UNITS, top=3)
    said = found.shown(counted(found, logits, labels, "softmax"), B)
    right = logits.argmax(axis=1) == labels
    recall = [right[labels == k].mean() if (labels == k).any() else None for k in range(UNITS)]
    assert said["recall"] == recall
    assert said["balanced_accuracy"] == pytest.approx(np.mean([one for one in recall if one is not None]))
    best = np.argsort(-logits, axis=1, kind="stable")[:, :3]
    assert said["top3_accuracy"] == pytest.approx((best == labels[:, None]).any(axis=1).mean())


def test_several_labels():
    logits, targets = RNG.normal(size=(B, UNITS)), (RNG.random((B, UNITS)) < 0.3).astype(float)
    logits[:, 2], targets[:, 2] = -1, 0  # never right, never said
    found = Measures("labels", UNITS)
    said = found.shown(counted(found, logits, targets, "logistic"), B)
    metrics = pytest.importorskip("sklearn.metrics")
    for name in ("macro", "micro"):
        right = metrics.f1_score(targets, logits > 0, average=name, zero_division=0)
        assert said[f"{name}_f1"] == pytest.approx(right)


@pytest.mark.parametrize("scaled", [False, True])
def test_targets(scaled):
    means, deviations = RNG.normal(size=(2, UNITS)) * 100
    deviations = np.abs(deviations) + 1
    true = RNG.normal(size=(B, UNITS)) * deviations + means
    answers = true + RNG.normal(size=(B, UNITS)) * deviations / 3
    found = Measures("targets", UNITS, centres=tuple(means))
    given = answers, true
    if scaled:
        found = Measures("targets", UNITS, deviations=tuple(deviations))
        given = tuple((one - means) / deviations for one in given)
    said = found.shown(counted(found, *given, "squared"), B)
    error = answers - true
    r2 = 1 - (error**2).sum(axis=0) / ((true - true.mean(axis=0)) ** 2).sum(axis=0)
    expected = {"r2": r2.mean(), "mean_absolute_error": np.abs(error).mean()}
    expected |= {"mean_squared_error": (error**2).mean()}
    assert said == pytest.approx(expected, rel=1e-9)


def test_a_target_that_is_constant_has_no_r2():
    found = Measures("targets", UNITS, centres=(5.0,) * UNITS)
    true = np.full((B, UNITS), 5.0)
    assert found.shown(counted(found, true + 1, true, "squared"), B)["r2"] is None


def test_without_figures_nothing_is_said():
    assert Measures("classes", 3).shown((), 10) == {}
