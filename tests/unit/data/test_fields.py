"""Files of others: their names, layouts, labels and missing splits, as `[data]` says; and what is refused."""

import h5py
import numpy as np
import pytest

from dbmpi.config.load import loads
from dbmpi.config.toml import to_toml
from dbmpi.data import digits
from dbmpi.data.describe import describe
from dbmpi.data.fields import fields_of
from dbmpi.data.split import Split
from dbmpi.errors import UserError
from dbmpi.run.plan.checks import with_cut

RNG = np.random.default_rng(11)
NAMES = ["rose", "daisy", "oak"]


def described(path, units=10, **keys):
    """Describe a file as a run with these keys of [data] would."""
    settings = [f"data.{name}={value!r}".replace("'", '"') for name, value in keys.items()]
    settings.append(f'model.layers=[{{type="dense",units={units}}}]')
    return describe(path, False, fields_of(loads(b"", settings)))


def read(data, name):
    """Return all inputs and labels or targets of a split."""
    with Split(data.path, name, view=data.view(name)) as split:
        rows = [(0, split.rows)]
        return split.read(rows), split.labels_or_targets(rows)


def written(path, **sets):
    """Write data sets; `__` in a name stands for the slash."""
    with h5py.File(path, "w") as file:
        for name, values in sets.items():
            file[name.replace("__", "/")] = values
    return path


X, Y = RNG.normal(size=(300, 6)).astype("f4"), RNG.integers(0, 3, 300)


@pytest.mark.parametrize(
    ("sets", "keys"),
    [
        ({"train__x": X, "train__y": Y, "test__x": X[:50], "test__y": Y[:50]}, {}),
        (
            {"train__images": X, "train__labels": Y, "test__images": X[:50], "test__labels": Y[:50]},
            {"inputs": "images", "targets": "labels"},
        ),
        (
            {"x_train": X, "y_train": Y, "x_test": X[:50], "y_test": Y[:50]},
            {"inputs": "x_{split}", "targets": "y_{split}"},
        ),
        (
            {"a__train__b": X, "a__train__c": Y, "a__test__b": X[:50], "a__test__c": Y[:50]},
            {"inputs": "/a/{split}/b", "targets": "/a/{split}/c"},
        ),
    ],
)
def test_the_splits_of_a_file_by_their_names(tmp_path, sets, keys):
    data = described(written(tmp_path / "a.h5", **sets), **keys)
    assert (data.train_rows, data.test_rows, data.validation_rows) == (300, 50, 0)
    assert data.classes == 3 and data.made == {} and data.test_fraction == 0
    for name, rows in (("train", 300), ("test", 50)):
        x, y = read(data, name)
        assert np.array_equal(x, X[:rows]) and np.array_equal(y, Y[:rows])


@pytest.mark.parametrize(
    ("sets", "keys"),
    [
        ({"x": X, "y": Y}, {}),
        ({"images": X, "labels": Y}, {"inputs": "images", "targets": "/labels"}),
        ({"deep__er__images": X, "labels": Y}, {"inputs": "/deep/er/images", "targets": "/labels"}),
        ({"train__x": X, "train__y": Y}, {"test_fraction": 0.1}),
    ],
)
def test_where_there_is_no_test_a_tenth_is_cut(tmp_path, sets, keys):
    path = written(tmp_path / "a.h5", **sets)
    data = described(path, **keys)
    assert (data.train_rows, data.test_rows, data.test_fraction) == (270, 30, 0.1)
    (x, y), (x_test, y_test) = read(data, "train"), read(data, "test")
    rows = np.concatenate([x, x_test])
    assert np.array_equal(rows[np.lexsort(rows.T)], X[np.lexsort(X.T)])
    assert np.abs(np.bincount(y_test) - np.bincount(Y) / 10).max() <= 1
    assert np.bincount(y).sum() == 270
    assert described(path, **keys).made == data.made != described(path, **keys, cut_seed=2).made


def test_validation_is_cut_beside_a_test_set_or_is_the_file_s_own(tmp_path):
    sets = {"train__x": X, "train__y": Y, "test__x": X[:50], "test__y": Y[:50]}
    path = written(tmp_path / "a.h5", **sets)
    data = described(path, validation_fraction=0.2)
    assert (data.train_rows, data.validation_rows, data.test_rows) == (240, 60, 50)
    assert data.watched == "validation"
    with pytest.raises(UserError, match="has rows for test of its own, and data.test_fraction = 0.1"):
        described(path, test_fraction=0.1)
    path = written(tmp_path / "b.h5", **sets, validation__x=X[:7], validation__y=Y[:7])
    assert described(path).validation_rows == 7
    with pytest.raises(UserError, match="has rows for validation of its own"):
        described(path, validation_fraction=0.1)
    path = written(tmp_path / "c.h5", **sets, validation__notes=X[:7])
    assert described(path).watched == "test"  # as ever for a file that has something else there


def test_groups_stay_on_one_side(tmp_path):
    speakers = RNG.integers(0, 12, 300)
    names = np.array([f"s{one}".encode() for one in speakers])
    path = written(tmp_path / "a.h5", train__x=X, train__y=Y, train__who=names, numbers=speakers)
    for groups in ("who", "/numbers"):
        data = described(path, groups=groups, test_fraction=0.2, validation_fraction=0.2)
        of = {name: data.view(name).rows for name in ("train", "validation", "test")}
        who = {
            name: set(np.concatenate([speakers[a:b] for a, b in zip(rows.starts, rows.stops, strict=True)]))
            for name, rows in of.items()
        }
        assert sum(map(len, who.values())) == 12 and all(who.values())
    with pytest.raises(UserError, match="group 'train' has no data set 'y2'"):
        described(path, groups="y2", test_fraction=0.1)
    with pytest.raises(UserError, match=r"train/x \(data.groups\) has shape \(300, 6\)"):
        described(path, groups="x", test_fraction=0.1)


def test_channels_first(tmp_path):
    images = RNG.integers(0, 255, (40, 3, 5, 6), dtype=np.uint8)
    data = described(written(tmp_path / "a.h5", x=images, y=np.arange(40) % 4), layout="channels_first")
    assert data.input_shape == (5, 6, 3)
    view = data.view("train")
    last = images.transpose(0, 2, 3, 1)
    rows = np.concatenate([np.arange(a, b) for a, b in zip(view.rows.starts, view.rows.stops, strict=True)])
    assert np.array_equal(read(data, "train")[0], last[rows].reshape(len(rows), -1))
    with Split(data.path, "train", window=((1, 4), (2, 5), (0, 2)), view=view) as split:
        assert np.array_equal(split.read([(3, 9)]), last[rows[3:9], 1:4, 2:5, 0:2])
    with Split(data.path, "train", columns=(17, 64), view=view) as split:
        assert np.array_equal(split.read([(3, 9)]), last[rows[3:9]].reshape(6, -1)[:, 17:64])
    with pytest.raises(UserError, match="channels_first"):
        described(written(tmp_path / "b.h5", x=X, y=Y), layout="channels_first")


LABELS = {
    "texts": (np.array(NAMES, dtype=object)[Y], ("daisy", "oak", "rose"), [2, 0, 1]),
    "fixed texts": (np.array(NAMES, dtype="S9")[Y], ("daisy", "oak", "rose"), [2, 0, 1]),
    "a column of texts": (np.array(NAMES, dtype=object)[Y][:, None], ("daisy", "oak", "rose"), [2, 0, 1]),
    "from 1": (Y + 1, ("1", "2", "3"), [0, 1, 2]),
    "negative": (Y - 1, ("-1", "0", "1"), [0, 1, 2]),
    "gaps": (np.array([7, 10**9, 20])[Y], ("7", "20", "1000000000"), [0, 2, 1]),
    "one-hot": (np.eye(3, dtype="i4")[Y], None, [0, 1, 2]),
    "one-hot bytes": (np.eye(3, dtype="u1")[Y], None, [0, 1, 2]),
    "one-hot floats": (np.eye(3)[Y], None, [0, 1, 2]),
    "one-hot truths": (np.eye(3, dtype=bool)[Y], None, [0, 1, 2]),
    "a column": (Y[:, None].astype("u1"), None, [0, 1, 2]),
    "truths": (Y == 0, None, [1, 0, 0]),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_are_made_of_what_is_stored(tmp_path, name):
    stored, names, codes = LABELS[name]
    data = described(written(tmp_path / "a.h5", x=X, y=stored), units=3)
    _, y = read(data, "test")
    view = data.view("test")
    rows = np.concatenate([np.arange(a, b) for a, b in zip(view.rows.starts, view.rows.stops, strict=True)])
    assert y.dtype == np.int64 and y.tolist() == np.array(codes)[Y[rows]].tolist()
    assert data.class_names == names and data.classes == max(codes) + 1
    assert "labels" in data.made and data.targets is None


def test_integers_with_a_unit_each_stay_as_they_were(tmp_path):
    """Nothing changes for a configuration that trained before classes were made of integers."""
    path = written(tmp_path / "a.h5", x=X, y=Y + 1)
    assert described(path, units=4).classes == 4 and "labels" not in described(path, units=4).made
    assert described(path, units=4, labels="classes").classes == 3
    with pytest.raises(UserError, match="negative|label -1"):
        described(written(tmp_path / "b.h5", x=X, y=Y - 1), units=3, labels="stored")


@pytest.mark.parametrize("name", [*LABELS, "a column from 1"])
def test_a_saved_configuration_makes_the_same_labels(tmp_path, name):
    stored = LABELS[name][0] if name in LABELS else Y[:, None] + 1
    path = written(tmp_path / "a.h5", x=X, y=stored)
    config = loads(b"", [f'model.layers=[{{type="dense",units={3 + (name not in LABELS)}}}]'])
    data = describe(path, False, fields_of(config))
    saved = with_cut(config, data)
    assert saved.data.labels in ("stored", "classes") and saved.data.test_fraction == 0.1
    assert describe(path, False, fields_of(loads(to_toml(saved).encode()))).made == data.made


def test_class_names_of_the_file_give_the_order(tmp_path):
    path = written(tmp_path / "a.h5", x=X, y=np.array(NAMES, dtype="S9")[Y])
    with h5py.File(path, "a") as file:
        file["y"].attrs["class_names"] = [*NAMES, "elm"]
    data = described(path, units=4)
    assert data.class_names == (*NAMES, "elm") and data.classes == 3


@pytest.mark.parametrize(
    ("sets", "keys", "words"),
    [
        ({"images": X, "labels": Y}, {}, r"no group 'train', only images, labels; name yours by data.inputs"),
        ({"train__x": X, "train__z": Y}, {}, r"group 'train' has no data set 'y', only x, z; name yours"),
        ({"x": X, "y": Y[:-1]}, {}, "y has 299 rows but x beside it has 300"),
        ({"x": X, "y": np.array([b"a", b"", b"b"] * 100)}, {}, "y holds an empty text in row 1"),
        (
            {"x": X, "y": 3 * np.eye(7, dtype="i4")[Y]},
            {},
            "y holds 3 in row 0, column .* say which labels are",
        ),
        ({"x": X[:1], "y": Y[:1]}, {}, "of its 1 rows none is left for train"),
        ({"x": X, "y": Y}, {"test_fraction": 0.0}, "has no group 'test', only x, y; set data.test_fraction"),
        ({"train__x": X, "y": Y}, {"targets": "/y", "inputs": "x", "test_fraction": 0.1}, None),
        (
            {"train__x": X, "test__x": X, "y": Y},
            {"targets": "/y"},
            r'data.inputs = "x" is found for test, but data.targets = "/y" is not',
        ),
        (
            {"train__x": X, "train__y": Y, "test__x": X, "test__y": Y.astype("S1")},
            {},
            "of another type or shape",
        ),
        ({"train__x": X, "train__y": Y, "test__x": X}, {}, "group 'test' has no data set 'y'"),
        ({"train__x": X, "train__y": Y}, {}, "no group 'test', only train; set data.test_fraction, for"),
    ],
)
def test_what_cannot_be_read_is_one_message(tmp_path, sets, keys, words):
    path = written(tmp_path / "a.h5", **sets)
    if words is None:
        assert described(path, **keys).train_rows == 270
        return
    with pytest.raises(UserError, match=words):
        described(path, **keys)


def test_a_test_group_that_leads_nowhere_is_no_missing_one(tmp_path):
    path = written(tmp_path / "a.h5", train__x=X, train__y=Y)
    with h5py.File(path, "a") as file:
        file["test"] = h5py.ExternalLink("gone.h5", "/")
    with pytest.raises(UserError, match=r"gone.h5"):
        described(path)


def test_the_embedded_digits_are_as_they_were():
    data = described("digits")
    assert (data.train_rows, data.test_rows, data.made) == (1437, 360, {})
    assert data.path == str(digits.path())


@pytest.mark.parametrize(("names", "made"), [(None, True), (NAMES, True), ([*NAMES, "elm", "fir"], False)])
def test_gaps_are_closed_where_the_units_follow_unless_all_labels_have_names(tmp_path, names, made):
    path = written(tmp_path / "a.h5", x=X, y=np.array([0, 1, 4])[Y])
    if names is not None:
        with h5py.File(path, "r+") as file:
            file["y"].attrs["class_names"] = names
    data = described(path, units='"auto"')
    assert (data.classes, data.class_names) == (
        (3, ("0", "1", "4") if names is None else tuple(NAMES)) if made else (5, tuple(names))
    )


def test_weights_that_are_all_0_are_refused(tmp_path):
    x, y = RNG.normal(size=(20, 3)), np.arange(20) % 2
    path = written(tmp_path / "w.h5", x=x, y=y, w=np.zeros(20), v=y)
    assert described(path, weights="v").train_rows == 18
    with pytest.raises(UserError, match="holds 0 in all rows"):
        described(path, weights="w")
