"""Mistakes in a configuration: each is one message with the place, the value and the remedy."""

from pathlib import Path

import pytest

from dbmpi.config.load import load, loads
from dbmpi.errors import UserError

CASES = {
    # what is given: what the message has to say
    "trian.minibatch=1": ["--set trian", "no such section", "train"],
    "train.minibach=1": ["--set train.minibach:", "no such key", "--set train.minibatch=1"],
    "train.learning_rate=1": ["--set train.learning_rate", "downpour.learning_rate"],
    "train.target.acuracy=1": ["--set train.target.acuracy:", "--set train.target.accuracy=1"],
    "train.minibatch=0": ["--set train.minibatch = 0", "too small", "at least 1", "examples"],
    "train.minibatch=2.0": ["--set train.minibatch = 2.0", "floating-point", "an integer"],
    "train.minibatch=true": ["train.minibatch = true", "is true or false", "an integer"],
    "train.minibatch=ten": ['"ten"', "is not one of its values", "an integer", '"auto"'],
    "train.minibatch=[1]": ["[1]", "is an array"],
    "train.minibatch=99999999999999999999": ["is above 9007199254740992"],
    "train.minibatch=2026-01-01": ["is a date or time"],
    "downpour.learning_rate=true": ["is true or false", "a number above 0"],
    "downpour.learning_rate=nan": ["nan", "not a finite number"],
    "downpour.learning_rate=inf": ["inf", "not a finite number"],
    "downpour.learning_rate=-inf": ["-inf", "not a finite number"],
    "downpour.learning_rate=0": ["= 0", "too small", "above 0"],
    "downpour.momentum=1": ["= 1", "too large", "below 1"],
    "downpour.rule=adagrd": ['"adagrd"', 'did you mean "adagrad"', '"momentum"'],
    "downpour.overlap=yes": ['"yes"', "true, false"],
    "downpour.overlap=1": ["is an integer", "true, false"],
    "model.loss=1": ["is an integer", '"softmax"'],
    "cluster.shards=aut": ['"aut"', 'did you mean "auto"'],
    "train.target.accuracy=97": ["= 97", "0.97 for 97 %"],
    "train.target.accuracy=970": ["= 970", "at most 1"],
    "train.target=0.97": ["--set train.target = 0.97", "a table", "train.target.accuracy"],
    "train.max_time=10:00": ["10:00", "HH:MM:SS"],
    "train.max_time=00:99:00": ["00:99:00", "HH:MM:SS"],
    "train.max_time=00:00:00": ["00:00:00", "too small"],
    "train.epochs=none": ["train.epochs", "no way to stop", "train.steps"],
    "train.seed=none": ["train.seed", '"none"', "an integer"],
    "data.path=": ["data.path", "is empty"],
    "data.path=12": ["data.path = 12", 'in quotes: "12"'],
    'data.path="a\\nb"': ["data.path", "control characters"],
    "data.path=\udcff": ["data.path", "not UTF-8"],
    "data.path='x": ["--set data.path", "not valid TOML"],
    "model.layers=[]": ["--set model.layers", "no layer"],
    "model.layers=3": ["--set model.layers = 3", "[[model.layers]]"],
    "model.layers=[{units=3}]": ["--set model.layers.0.type is missing", '"dense"'],
    "model.layers=[{type='dens', units=3}]": ["model.layers.0.type", '"dens"', 'did you mean "dense"'],
    "model.layers=[{type='dense'}]": ["model.layers.0.units is missing", "an integer"],
    "model.layers=[{type=['dense']}]": ["model.layers.0.type"],
    "model.layers.2.units=3": ["--set model.layers.2", "has 2 (from 0)"],
    "model.layers.-1.units=3": ["no number -1"],
    "model.layers.0.unit=3": ["--set model.layers.0.unit:", "--set model.layers.0.units=3"],
    "model.layers.1.activation=relu": [
        "--set model.layers.1.activation",
        '"relu" on the last layer',
        "a function of its own",
        '"identity"',
    ],
    "model.layers=[{type='conv', filter=3, size=3}]": [".0.filter: there is no such key", '"filters"'],
    "model.layers=[{type='pool', size=3, strde=2}]": [".0.strde: there is no such key", '"stride"'],
    "model.layers=[{type='conv', units=3, size=3}]": [".0.units", "belongs to layers of type dense"],
    "model.layers=[{type='convo', size=3}]": ["type", '"convo" is no type', 'did you mean "conv"', '"lcn"'],
    "model.layers=[{type='Local', size=3}]": ['"Local" is no type', 'did you mean "local"'],
    "model.layers=[{type='local', size=3}]": [".0.filters is missing", "an integer of at least 1"],
    "model.layers=[{type='pool', size=3}]": [".0.stride is missing", "[rows, columns]"],
    "model.layers=[{type='pool', size=3, stride=2, kind='mean'}]": ['.0.kind = "mean"', '"average"'],
    "model.layers=[{type='conv', filters=3, size=[3]}]": [".0.size = [3]", "array of 1, not of two"],
    "model.layers=[{type='conv', filters=3, size=[3, 4, 5]}]": ["array of 3, not of two"],
    "model.layers=[{type='conv', filters=3, size=[3, 0]}]": ["[3, 0]", "an entry that is too small"],
    "model.layers=[{type='conv', filters=3, size=[3, 4.0]}]": ["an entry that is a floating-point number"],
    "model.layers=[{type='conv', filters=3, size=[[3], 4]}]": ["an entry that is an array"],
    "model.layers=[{type='conv', filters=3, size=[true, 4]}]": ["an entry that is true or false"],
    "model.layers=[{type='conv', filters=3, size='3x3'}]": ['"3x3" is a string', "[rows, columns]"],
    "model.layers=[{type='conv', filters=3, size=3, padding=-1}]": [".0.padding = -1", "at least 0"],
    "model.layers=[{type='conv', filters=3, size=3, stride=0}]": [".0.stride = 0", "at least 1"],
    "model.layers=[{type='conv', filters=[3, 3], size=3}]": [".0.filters = [3, 3] is an array"],
    "model.layers=[{type='lcn', size=4}]": [".0.size = 4 is even", "an odd integer"],
    "model.layers=[{type='lcn', size=[5, 5]}]": [".0.size = [5, 5] is an array", "an odd integer"],
    "model.layers=[{type='lcn', size=5, floor=0}]": [".0.floor = 0", "above 0"],
    "model.layers=[{type='dropout', rate=1}]": [".0.rate = 1", "below 1"],
    "model.layers=[{type='dropout', rate=-0.1}]": [".0.rate = -0.1", "at least 0"],
    "model.layers=[{type='lcn', size=5}]": ['.0.type = "lcn" on the last layer', 'with type "dense"'],
    "cluster.grid=4": ["--set cluster.grid = 4 is an integer", "[rows, columns]", '"none"'],
    "cluster.grid=[2]": ["cluster.grid = [2] is an array of 1"],
    "cluster.grid=[0, 2]": ["[0, 2]", "too small"],
    "cluster.grid=auto": ['"auto" is a string', '"none"'],
    "train.minibatch.x=3": ["--set train.minibatch", "is a table"],
    "train.minibatch": ["give section.key=value"],
    "minibatch=3": ["give section.key=value"],
    "train.=3": ["train is a section", "--set train.epochs=3"],
    "=": ["give section.key=value"],
    "": ["give section.key=value"],
    "train.'x y'=3": ["no such key"],
}


def message(content: bytes, *overrides: str, name: str = "run.toml") -> str:
    with pytest.raises(UserError) as caught:
        loads(content, overrides, name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700
    return str(caught.value)


@pytest.mark.parametrize(("override", "parts"), CASES.items())
def test_overrides(override: str, parts: list[str]) -> None:
    text = message(b"", override)
    for part in parts:
        assert part in text, text


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"minibatch = 3", ["run.toml: minibatch", "no such section", "train.minibatch"]),
        (b"[train]\nminibach = 3", ["run.toml: train.minibach", '"minibatch"']),
        (b"[trian]\nminibatch = 3", ["run.toml: trian", '"train"']),
        (b"train = 3", ["run.toml: train = 3", "should be a table"]),
        (b"[[train]]\nseed = 3", ["run.toml: train", "should be a table"]),
        (b"[model.layers]\ntype = 'dense'", ["run.toml: model.layers", "[[model.layers]]"]),
        (b"[train]\nseed = 3\nseed = 4\n[data]", ["run.toml", "not valid TOML", "line 3"]),
        (b"[train]\nseed 3", ["run.toml", "not valid TOML", "line 2, column"]),
        (b"[train]\nseed = 0x" + b"f" * 9999, ["train.seed", "a huge value", "is above"]),
        (b"[train]\nseed = " + b"9" * 9999, ["run.toml", "not valid TOML"]),
        (b"[train]\nepochs = 0x" + b"f" * 999, ["train.epochs", "too large"]),
        (b"x = " + b"[" * 99999, ["run.toml", "not valid TOML"]),
        (b"[data]\npath = '\xff'", ["run.toml", "byte 15 is not UTF-8"]),
        (bytes(range(256)), ["run.toml", "not UTF-8"]),
        (b"\x89HDF\r\n\x1a\n\0\0", ["run.toml", "not UTF-8"]),
        (b"\x1f\x00\x00", ["run.toml", "not valid TOML"]),
        (b'["a\\nb"]\nx=1', ["run.toml", "no such section"]),
        (b'[model]\nloss = "logistic"\n[[model.layers]]\ntype="dense"\nunits=2\nactivation="sigmoid"',
         ["run.toml: model.layers.0.activation", "the sigmoid"]),
        (b"[train]\ntarget.loss = 0.1\n[evaluation]\nevery_epochs = 0",
         ["run.toml: evaluation.every_epochs", "train.target"]),
        (b"[train]\npatience = 3\n[checkpoint]\nbest = false",
         ["run.toml: train.patience = 3", "checkpoint.best"]),
        (b"[cluster]\ngrid = [2, 3]\npartitions = 5",
         ["run.toml: cluster.grid = [2, 3] has 6 tiles", "cluster.partitions = 5"]),
        (b"[[model.layers]]\ntype = 'conv'\nfilters = 2\nsize = 3\npading = 1",
         ["run.toml: model.layers.0.pading", '"padding"']),
    ],
)  # fmt: skip
def test_files(content: bytes, parts: list[str]) -> None:
    text = message(content)
    for part in parts:
        assert part in text, text


def test_the_place_is_where_the_value_came_from() -> None:
    content = b"[train]\nseed = -1\nminibatch = 3"
    assert message(content, "train.minibatch=4").startswith("run.toml: train.seed = -1")
    assert message(content, "train.seed=-2").startswith("--set train.seed = -2")
    assert message(b"[trian]\nx = 1", "trian.y=2").startswith("run.toml: trian:")
    assert message(b"", "trian.y=2").startswith("--set trian:")


def test_long_values_are_cut_short() -> None:
    assert '"xxx' in message(b"", "downpour.rule=" + "x" * 5000)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    for path, part in [
        (missing, "no such file"),
        (tmp_path, "is a directory"),
        (Path("a\0b"), "cannot be read"),
    ]:
        with pytest.raises(UserError, match=part) as caught:
            load(path)
        assert str(path) in str(caught.value)


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)  # root can read every file
    with pytest.raises(UserError, match="run.toml: cannot be read .Permission denied."):
        load(tmp_path / "run.toml")


@pytest.mark.parametrize(
    "given",
    [
        "n_push=2",
        "n_fetch=3",
        "overlap=true",
        "average=2",
        "local_rate=0.1",
        "max_staleness=3",
        "warmstart.steps=5",
        "warmstart.time=1.5",
    ],
)
def test_what_has_no_meaning_in_rounds_is_refused_with_them_alone(given: str) -> None:
    load(None, [f"downpour.{given}"])
    with pytest.raises(UserError) as raised:
        load(None, ["train.algorithm=sync", f"downpour.{given}"])
    said = str(raised.value)
    assert (
        said.startswith(f"--set downpour.{given.replace('=', ' = ')}")
        and 'train.algorithm = "downpour"' in said
    )


def test_backup_workers_want_rounds() -> None:
    assert load(None, ["train.algorithm=sync", "downpour.backups=2"]).downpour.backups == 2
    with pytest.raises(UserError, match="--set downpour.backups = 2 .*sync"):
        load(None, ["downpour.backups=2"])


def test_in_rounds_every_fetch_is_waited_for() -> None:
    assert load(None, ["train.algorithm=sync"]).downpour.waits


@pytest.mark.parametrize("other", ["train.algorithm=sync", "downpour.average=2"])
def test_late_gradients_are_revised_only_where_each_makes_a_step(other: str) -> None:
    with pytest.raises(UserError, match=r"--set downpour.rule = \"adarevision\" .*adagrad"):
        load(None, ["downpour.rule=adarevision", other])
