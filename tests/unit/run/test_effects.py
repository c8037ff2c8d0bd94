"""Settings that can have no effect are named, and what is told to give instead is the end of it."""

import re

import pytest

from dbmpi.layout.network import build
from dbmpi.run.plan.choices import complete
from dbmpi.run.plan.effects import without_effect
from tests.doubles.ten_classes import load

ROWS = 600
CASES = [
    # replicas, settings (the first has no effect), what is said
    (1, "train.minibatch=900", "give at most 600"),
    (4, "train.minibatch=500", "a replica's part of the training set"),
    (4, "train.portion=90", "replica's part"),
    (6, "train.steps=20 train.portion=10", "4 of 6 replicas learn nothing"),
    (700, "cluster.replicas=auto", "700 for 600 training examples"),
    (2, "downpour.n_push=1000 train.epochs=1", "minibatches of a replica"),
    (2, "downpour.n_fetch=1000 train.steps=100", "the 50 minibatches of a replica"),
    (2, "downpour.average=1000 train.steps=100", "100 pushes"),
    (2, "downpour.warmstart.steps=100 train.steps=100", "never begin"),
    (1, "downpour.warmstart.steps=100", "one replica"),
    (1, "downpour.warmstart.time=9", "one replica"),
    (1, "downpour.backups=1 train.algorithm=sync", "one replica"),
    (2, "downpour.warmstart.time=60 train.max_time=30", "the 30 s of train.max_time"),
    (2, "checkpoint.every_s=60 train.max_time=30", "none but at the end"),
    (2, "checkpoint.mirror_s=60 train.max_time=30", "none but at the start"),
    (2, "checkpoint.every_examples=10000 train.epochs=2", "the 1,200 examples of the run"),
    (2, "evaluation.every_s=60 train.max_time=30", "none but at the end"),
    (2, "evaluation.every_epochs=3 train.epochs=2", "the 2 epochs of the run"),
    (2, "downpour.schedule.warmup_epochs=3 train.epochs=2", "never reaches"),
    (2, "downpour.schedule.final=0.1", "schedule.kind"),
    (2, "downpour.schedule.decay_factor=0.1 downpour.schedule.kind=cosine", "schedule.kind"),
    (2, "downpour.momentum=0.5", "downpour.rule"),
    (2, "downpour.beta1=0.5 downpour.rule=momentum", "downpour.rule"),
    (2, "sandblaster.iterations=5", "train.algorithm"),
    (2, "downpour.n_push=5 train.algorithm=sandblaster", "train.algorithm"),
    (2, "train.portion=5 train.algorithm=sandblaster", "train.algorithm"),
    (2, "sandblaster.history=5 sandblaster.method=conjugate_gradient train.algorithm=sandblaster", "method"),
    (1, "train.minibatch=900 train.algorithm=sandblaster", "give at most 600"),
    (4, "sandblaster.portions=2 train.algorithm=sandblaster", "2 of 4 replicas compute nothing"),
]
NONE = [
    (2, ""),
    (1, "train.steps=1"),
    (1, "train.minibatch=600 train.max_time=30"),
    (6, "train.steps=60 train.algorithm=sync"),
    (4, "train.algorithm=sandblaster sandblaster.history=5"),
    (3, "downpour.n_push=3 downpour.rule=momentum downpour.momentum=0.5"),
    (4, "train.algorithm=sandblaster sandblaster.warmstart_examples=600 downpour.n_push=3"),
    (4, "train.epochs=none train.target.loss=0.1"),
]


def told(replicas: int, settings: str) -> list[str]:
    """Return the warnings; the configuration is completed as a run does it."""
    given = load(None, ["train.minibatch=5", *settings.split()])
    network = build(given, (64,))
    return list(without_effect(given, complete(given, network, ROWS, replicas), ROWS, replicas, None))


@pytest.mark.parametrize(("replicas", "settings", "part"), CASES)
def test_a_setting_without_effect_is_named_once(replicas, settings, part):
    (text,) = told(replicas, settings)
    assert text.startswith(settings.partition("=")[0] + " = ") and part in text
    if most := re.search(r"give at most (\d+)", text):
        assert told(replicas, f"{settings} train.minibatch={most[1]}") == []


@pytest.mark.parametrize(("replicas", "settings"), NONE)
def test_others_are_not(replicas, settings):
    assert told(replicas, settings) == []
