"""What a mistyped setting was to be is named, and what is named works."""

import re

import pytest

from dbmpi.config.load import loads
from dbmpi.errors import UserError
from dbmpi.run.start.cli import parse

SETTINGS = {
    # as typed, words of the command line: the setting that was meant
    ("epochs=3",): "train.epochs=3",
    ("epoch=3",): "train.epochs=3",
    ("train=3",): "train.epochs=3",
    ("train.epoch", "3"): "train.epochs=3",
    ("train.epoch=3",): "train.epochs=3",
    ("train.epochs==3",): "train.epochs=3",
    ("train.epochs 3",): "train.epochs=3",
    ("train.epochs", "=", "3"): "train.epochs=3",
    ("train.epochs=", "3"): "train.epochs=3",
    ("train.epochs", "=3"): "train.epochs=3",
    ("train.epochs:3",): "train.epochs=3",
    ("train.epochs:=3",): "train.epochs=3",
    ("train.epochs=3,",): "train.epochs=3",
    ('train.epochs="3"',): "train.epochs=3",
    ("train/epochs=3",): "train.epochs=3",
    ("train_epochs=3",): "train.epochs=3",
    ("trian.epochs=3",): "train.epochs=3",
    ("TRAIN.EPOCHS=3",): "train.epochs=3",
    ("data.train.epochs=3",): "train.epochs=3",
    ("train.epochs=3,train.minibatch=4",): "train.epochs=3",
    ("max_time=00:10:00",): "train.max_time=00:10:00",
    ("train.max_time", "00:10:00"): "train.max_time=00:10:00",
    ("train.target=0.97",): "train.target.accuracy=0.97",
    ("train.learning_rate=0.1",): "downpour.learning_rate=0.1",
    ("lr=0.1",): "downpour.learning_rate=0.1",
    ("batch_size=64",): "train.minibatch=64",
    ("units=64",): "model.layers.0.units=64",
    ("layers.0.units=64",): "model.layers.0.units=64",
    ("activation=relu",): "model.layers.0.activation=relu",
    ("downpour.overlap=True",): "downpour.overlap=true",
    ("downpour.rule=Adagrad",): "downpour.rule=adagrad",
    ("data=a.h5",): "data.path=a.h5",
}
WORDS = {
    "train.epochs=3": "--set train.epochs=3",
    "a.toml train.epochs=3": "--set train.epochs=3",
    "--train.epochs=3": "--set train.epochs=3",
    "--epochs 3": "--set train.epochs=3",
    "--batch-size 64": "--set train.minibatch=64",
    "--dryrun": "--dry-run",
    "--run_dir x": "--run-dir",
    "--rank 3": "--ranks",
    "--print": "--print-config",
}
FILES = {
    b"epochs = 3": "train.epochs, as epochs = 3 below [train]",
    b"train = 3": "train.epochs",
    b"[trian]\nepochs = 3": '"train"',
    b"[train]\nlr = 3": "learning_rate = 3 below [downpour]",
    b"[data]\npath = 'x'\ntrain.epochs = 3": "begin it with [train]",
    b"train.epochs = 3\n[train]\nseed = 4": "below one [train]",
    b"[train]\nepochs = '3'": "give train.epochs = 3",
    b"[downpour]\nrule = 'Adagrad'": 'give downpour.rule = "adagrad"',
    b"units = 3": "units = 3 below [[model.layers]]",
}


@pytest.mark.parametrize("typed", SETTINGS, ids=" ".join)
def test_what_is_named_works(typed: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as raised:
        loads(b"", typed)
    named = re.findall(r"--set ([\w.]+=[\w.:]+)", str(raised.value).partition(" ")[2])
    assert SETTINGS[typed] in named
    for one in named:
        loads(b"", [one])


@pytest.mark.parametrize("typed", WORDS)
def test_words_of_the_command_line(typed: str) -> None:
    with pytest.raises(UserError) as raised:
        parse(typed.split())
    assert f"(did you mean {WORDS[typed]}" in str(raised.value)


@pytest.mark.parametrize("content", FILES)
def test_files(content: bytes) -> None:
    with pytest.raises(UserError) as raised:
        loads(content)
    assert FILES[content] in str(raised.value)


def test_nothing_is_named_that_would_not_be_accepted() -> None:
    with pytest.raises(UserError, match="as in --set train.minibatch=32"):
        loads(b"", ["seed=1.5"])
    with pytest.raises(UserError, match="train = 3 should be a table; give"):
        loads(b"train = 3", ["train.epochs=2"])
