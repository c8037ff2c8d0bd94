"""Checkpoints whose checksums are right, and which hold what no run wrote: damaged, and no file is opened."""

import os

import h5py
import numpy as np
import pytest

from dbmpi.checkpoint import manifest
from dbmpi.checkpoint.contents import verify
from dbmpi.checkpoint.directory import INDEX, shard_file_name
from dbmpi.checkpoint.mapping import PIECES, covers
from dbmpi.checkpoint.resume import whole
from dbmpi.checkpoint.whole_file import Damaged
from tests.doubles.checkpoints import PARAMETERS, save, seal_again
from tests.system.damage import craft

FIRST = shard_file_name(0)


@pytest.mark.parametrize("name", craft.INDEXES)
def test_an_index_that_leads_elsewhere(tmp_path, name):
    path = save(tmp_path)
    with h5py.File(path / INDEX, "r+") as file:
        craft.INDEXES[name](file)
    seal_again(path)
    with pytest.raises(Damaged, match=f"^000001/({INDEX}|{FIRST})"):
        verify(manifest.read(path))


@pytest.mark.parametrize("name", craft.SHARDS)
def test_a_shards_file_that_leads_elsewhere(tmp_path, name):
    path = save(tmp_path)
    (tmp_path / "secret").write_bytes(bytes(4096))
    with h5py.File(path / FIRST, "r+") as file:
        craft.SHARDS[name](file, str(tmp_path / "secret"))
    seal_again(path)
    with pytest.raises(Damaged, match=f"^000001/{FIRST}"):
        verify(manifest.read(path))


def test_a_link_in_place_of_a_file_and_names_that_lead_out(tmp_path):
    path = save(tmp_path)
    os.replace(path / FIRST, tmp_path / "elsewhere.h5")
    (path / FIRST).symlink_to("../../elsewhere.h5")
    seal_again(path)
    with pytest.raises(Damaged, match=f"^000001/{FIRST}: a symbolic link"):
        verify(manifest.read(path))

    def rename(content):
        content["files"]["../../elsewhere.h5"] = content["files"].pop(FIRST)

    seal_again(path, rename)
    with pytest.raises(Damaged, match="files"):
        manifest.read(path)


def test_a_pipe_in_place_of_the_manifest(tmp_path):
    path = save(tmp_path)
    (path / "manifest.json").unlink()
    os.mkfifo(path / "manifest.json")
    with pytest.raises(Damaged, match="regular"):
        manifest.read(path)


def test_a_value_that_is_no_number(tmp_path):
    path = save(tmp_path)
    with h5py.File(path / FIRST, "r+") as file:
        file["parameters"][3] = np.nan
    seal_again(path)
    with pytest.raises(Damaged, match="parameters holds what is no number"):
        verify(manifest.read(path))


def test_the_one_before_a_crafted_one_is_found(tmp_path):
    save(tmp_path, 1)
    path = save(tmp_path, 2)
    with h5py.File(path / INDEX, "r+") as file:
        craft.INDEXES["rows from itself"](file)
    seal_again(path)
    crafted, before = whole(tmp_path)
    assert isinstance(crafted, Damaged) and before.manifest.number == 1


@pytest.mark.parametrize(
    ("column", "value"), [("updates", -1), ("updates", 1 << 62), ("shard", 7), ("stop", 0), ("start", 1)]
)
def test_a_table_of_pieces_that_cannot_be(tmp_path, column, value):
    path = save(tmp_path)
    with h5py.File(path / INDEX, "r+") as file:
        table = file[PIECES][...]
        table[column][0] = value
        file[PIECES][...] = table
    seal_again(path)
    with pytest.raises(Damaged, match=INDEX):
        verify(manifest.read(path))


def test_updates_of_the_shard_other_than_those_of_the_index(tmp_path):
    path = save(tmp_path)
    with h5py.File(path / FIRST, "r+") as file:
        file["updates"][0] = 77
    seal_again(path)
    with pytest.raises(Damaged, match="other pieces"):
        verify(manifest.read(path))


def test_boxes_that_cover_and_that_do_not():
    square = (2, 2)
    assert covers(square, [((0, 2), (0, 1)), ((0, 1), (1, 2)), ((1, 2), (1, 2))])
    assert not covers(square, [((0, 2), (0, 1)), ((0, 2), (0, 1))])  # twice, and a hole
    assert not covers(square, [((0, 2), (0, 1))])
    assert not covers(square, [((0, 2), (1, 3))] + [((0, 2), (0, 1))])
    assert not covers(square, [])


def test_what_is_whole_is_read_through_hdf5_alike(tmp_path):
    path = save(tmp_path)
    assert PARAMETERS in verify(manifest.read(path)).sources
    with h5py.File(path / INDEX) as file:
        assert all(np.isfinite(file[PARAMETERS][name][...]).all() for name in file[PARAMETERS])
