"""A rank reads what it opened and compared itself: what it cannot read is an error, and never a number."""

import os
import shutil

import numpy as np
import pytest

from dbmpi.checkpoint import manifest
from dbmpi.checkpoint.contents import verify
from dbmpi.checkpoint.directory import INDEX, shard_file_name
from dbmpi.checkpoint.reader import Reader
from dbmpi.checkpoint.whole_file import Damaged
from dbmpi.layout import sharding
from dbmpi.layout.partitioning import Partitioning
from tests.doubles.checkpoints import PARAMETERS, SMALL, SQUARES, elements, numbered, save

PLAN = Partitioning(SMALL, 1)
PIECES = sharding.cut(PLAN.sizes, 2, 7)
SECOND = shard_file_name(1)


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def link(path):
    shutil.move(path, path.parent.parent / "elsewhere")
    path.symlink_to("../elsewhere")


def pipe(path):
    path.unlink()
    os.mkfifo(path)


LOSSES = {
    "removed": lambda path: path.unlink(),
    "cut": lambda path: os.truncate(path, os.path.getsize(path) - 1),
    "changed": flip,
    "a directory": lambda path: (path.unlink(), path.mkdir()),
    "a link to a copy": link,
    "a pipe": pipe,
}


def read_all(saved, plan=PLAN, pieces=PIECES):
    with Reader(saved, plan) as reader:
        for piece in pieces:
            for vector, base in ((PARAMETERS, 1), (SQUARES, 1000)):
                out = np.zeros(piece.size, np.float32)
                reader.read(vector, piece, out)
                assert np.array_equal(out, elements(plan, piece, numbered(plan.network, base)))


@pytest.mark.parametrize("name", [SECOND, INDEX])
@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_lost_after_rank_0_has_looked_is_an_error(tmp_path, loss, name):
    path = save(tmp_path)
    saved = manifest.read(path)
    verify(saved)
    LOSSES[loss](path / name)
    with pytest.raises(Damaged, match=f"^000001/{name}"):
        read_all(saved)


def test_only_the_files_that_are_needed_are_opened(tmp_path):
    path = save(tmp_path)
    (path / SECOND).unlink()
    saved = manifest.read(path)
    read_all(saved, pieces=sharding.of_shard(PIECES, 0))
    with pytest.raises(Damaged, match=SECOND):
        read_all(saved, pieces=sharding.of_shard(PIECES, 1))


def test_a_file_that_takes_the_name_of_another_is_not_read(tmp_path):
    """The values are those of the file that was compared."""
    path, other = save(tmp_path / "a"), save(tmp_path / "b")
    with Reader(manifest.read(path), PLAN) as reader:
        out = np.zeros(PIECES[-1].size, np.float32)
        reader.read(PARAMETERS, PIECES[-1], out)
        flip(other / SECOND)
        os.replace(other / SECOND, path / SECOND)
        again = np.zeros_like(out)
        reader.read(PARAMETERS, PIECES[-1], again)
    assert np.array_equal(out, again)


def test_a_file_that_gets_shorter_while_it_is_read_is_an_error(tmp_path):
    path = save(tmp_path)
    out = np.zeros(PIECES[-1].size, np.float32)
    with Reader(manifest.read(path), PLAN) as reader:
        reader.read(PARAMETERS, PIECES[-1], out)
        os.truncate(path / SECOND, 0)
        with pytest.raises(Damaged, match="shorter"):
            reader.read(PARAMETERS, PIECES[-1], out)


def test_no_number_is_an_error(tmp_path):
    tensors = numbered(SMALL, 1)
    tensors["layers.1.bias"][0] = np.nan
    path = save(tmp_path, vectors={PARAMETERS: tensors, SQUARES: numbered(SMALL, 1000)})
    with pytest.raises(Damaged, match="parameters holds what is no number"):
        read_all(manifest.read(path))
