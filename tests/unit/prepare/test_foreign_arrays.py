"""Arrays as others name and shape them, and as MATLAB stores them."""

import h5py
import numpy as np
import pytest

from dbmpi.prepare.command import main

RNG = np.random.default_rng(1)
IMAGES = RNG.integers(0, 255, (60, 6, 7, 3), np.uint8)
LABELS = RNG.integers(1, 4, 60)


@pytest.fixture
def prepare(tmp_path, capsys):
    def run(kind, path, *options):
        out = tmp_path / "out.h5"
        status = main(
            [kind, str(path), str(out), "--replace", "--keep-order", "--test-fraction", "0", *options]
        )
        printed = capsys.readouterr()
        if status:
            assert printed.err.count("\n") == 1
            return printed.err
        with h5py.File(out) as file:
            return {f"{split}/{name}": file[split][name][()] for split in file for name in "xy"} | dict(
                file["train/y"].attrs
            )

    return run


@pytest.mark.parametrize(
    "names",
    [
        "train_data train_label",
        "trainX trainY",
        "Xtrain ytrain",
        "all/train/features all/train/targets",
        "train_set_x_orig train_set_y",
    ],
)
def test_names_of_others(prepare, tmp_path, names):
    x, y = names.split()
    arrays = {x: IMAGES, y: LABELS}
    arrays |= {name.replace("train", "val"): array[:10] for name, array in arrays.items()}
    np.savez(tmp_path / "in.npz", list_classes=np.arange(3), **arrays) if "/" not in x else None
    with h5py.File(tmp_path / "in.h5", "w") as file:
        for name, array in arrays.items():
            file[name] = array
    found = prepare("hdf5", tmp_path / "in.h5") if "/" in x else prepare("npz", tmp_path / "in.npz")
    assert len(found["train/x"]) == 60 and len(found["validation/x"]) == 10


def matlab_73(path, **arrays):
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file[name] = array.T


def matlab_5(path, **arrays):
    pytest.importorskip("scipy.io").savemat(path, arrays)


@pytest.mark.parametrize("save", [matlab_5, matlab_73])
def test_matlab_has_rows_last_and_floats_for_labels(prepare, tmp_path, save):
    save(tmp_path / "in.mat", X=np.moveaxis(IMAGES, 0, -1), y=LABELS[None].astype(float))
    assert "--rows-last" in prepare("mat", tmp_path / "in.mat")
    found = prepare("mat", tmp_path / "in.mat", "--rows-last")
    assert (found["train/x"] == IMAGES).all() and (found["train/y"] == LABELS - 1).all()
    assert found["class_names"].tolist() == ["1", "2", "3"]


def test_matlab_texts_and_structures(prepare, tmp_path):
    cells = np.array([f"k{label}" for label in LABELS], object)[:, None]
    matlab_5(tmp_path / "in.mat", set={"data": IMAGES, "labels": cells})
    assert prepare("mat", tmp_path / "in.mat")["class_names"].tolist() == ["k1", "k2", "k3"]
    with h5py.File(tmp_path / "new.mat", "w", userblock_size=512) as file:
        file["set/data"] = IMAGES.T
        codes = [np.frombuffer(text.encode(), np.uint8).astype(np.uint16)[:, None] for text in cells[:, 0]]
        for number, code in enumerate(codes):
            file[f"#refs#/{number}"] = code
            file[f"#refs#/{number}"].attrs["MATLAB_class"] = np.bytes_("char")
        refs = np.array([file[f"#refs#/{number}"].ref for number in range(60)], h5py.ref_dtype)[None]
        file.create_dataset("set/labels", data=refs, dtype=h5py.ref_dtype).attrs["MATLAB_class"] = np.bytes_(
            "cell"
        )
    found = prepare("mat", tmp_path / "new.mat")
    assert found["class_names"].tolist() == ["k1", "k2", "k3"] and (found["train/x"] == IMAGES).all()


def test_channels_first_is_asked_for(prepare, tmp_path):
    np.savez(tmp_path / "in.npz", x=IMAGES.transpose(0, 3, 1, 2), y=LABELS)
    assert "--channels-first" in prepare("npz", tmp_path / "in.npz")
    assert (prepare("npz", tmp_path / "in.npz", "--channels-first")["train/x"] == IMAGES).all()
    assert prepare("npz", tmp_path / "in.npz", "--no-channels-first")["train/x"].shape == (60, 3, 6, 7)


def test_a_folder_of_npy_files_and_many_axes(prepare, tmp_path):
    for name, array in {"X": IMAGES[:, None], "y": LABELS}.items():
        (tmp_path / "own").mkdir(exist_ok=True)
        np.save(tmp_path / "own" / f"{name}.npy", array)
    assert "folder of the .npy" in prepare("npz", tmp_path / "own" / "X.npy")
    assert "--flat" in prepare("npz", tmp_path / "own")
    assert (prepare("npz", tmp_path / "own", "--flat")["train/x"] == IMAGES.reshape(60, -1)).all()


def test_objects_and_tables_of_pandas_are_told(prepare, tmp_path):
    np.savez(tmp_path / "in.npz", x=IMAGES, y=np.array(["a", "b"] * 30, object))
    assert "y.astype(str)" in prepare("npz", tmp_path / "in.npz")
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file["df/block0_values"] = IMAGES[:, 0, 0]
        file["df"].attrs["pandas_type"] = "frame"
    assert "to_parquet" in prepare("hdf5", tmp_path / "in.h5")
