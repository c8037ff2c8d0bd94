"""Checkpoints on disk: damage is seen, whatever it is, and the one before is found."""

import shutil
from pathlib import Path

import pytest

from dbmpi.checkpoint import manifest, resume
from dbmpi.checkpoint.directory import (
    CHECKPOINTS,
    INDEX,
    MANIFEST,
    checkpoint_directory,
    checkpoint_numbers,
    construction_directory,
    prepare,
    under_construction,
)
from dbmpi.checkpoint.manifest import Checkpoint
from dbmpi.checkpoint.pruning import best_of, prune
from dbmpi.checkpoint.whole_file import Damaged
from dbmpi.errors import UserError
from tests.doubles.checkpoints import STATE, save, seal_again
from tests.doubles.owner import owner


def found(run_dir: Path) -> list[int | str]:
    """The numbers of those that are whole, and the first word of what is wrong with the others."""
    return [
        one.manifest.number if isinstance(one, Checkpoint) else str(one).split()[0].rstrip(":")
        for one in resume.whole(run_dir)
    ]


def test_newest_first_and_nothing_is_lost_on_the_way(tmp_path):
    for number in (1, 2, 10):
        save(tmp_path, number, score=0.1 * number)
    assert found(tmp_path) == [10, 2, 1]
    read = manifest.read(checkpoint_directory(tmp_path, 2)).manifest
    assert (read.number, read.score, read.state) == (2, 0.2, STATE)


@pytest.mark.parametrize("name", [MANIFEST, INDEX, "shard-0000.h5"])
def test_every_flipped_bit_and_every_cut_is_seen(tmp_path, name):
    path = save(tmp_path, 1) / name
    whole = path.read_bytes()
    for at in range(0, len(whole), len(whole) // 50):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        assert found(tmp_path) == [f"000001/{name}"], at
        path.write_bytes(whole[:at])
        assert found(tmp_path) == [f"000001/{name}"], at
    path.unlink()
    assert found(tmp_path) == [f"000001/{name}"]


def test_what_is_under_construction_does_not_count_and_is_cleared(tmp_path):
    save(tmp_path, 1)
    construction_directory(owner(tmp_path), 2).mkdir()
    (tmp_path / CHECKPOINTS / ".000002.part").mkdir()  # by version 0.1.0
    assert found(tmp_path) == [1] and len(under_construction(tmp_path)) == 2
    prepare(owner(tmp_path))
    assert under_construction(tmp_path) == [] and found(tmp_path) == [1]


def test_a_directory_that_cannot_be_read_is_not_one_without_checkpoints(tmp_path):
    (tmp_path / CHECKPOINTS).symlink_to(CHECKPOINTS)  # to itself
    with pytest.raises(UserError, match="checkpoints: cannot be read: Too many levels of symbolic links"):
        checkpoint_numbers(tmp_path)


def test_a_newer_format_is_refused_by_name(tmp_path):
    path = save(tmp_path, 1)
    seal_again(path, lambda content: content.update(format=content["format"] + 1))
    with pytest.raises(Damaged, match="newer version"):
        manifest.read(path)


@pytest.mark.parametrize("missing", ["stopping", "first_loss", "last_evaluation", "ledger", "plan"])
def test_a_state_that_lacks_something_is_refused(tmp_path, missing):
    path = save(tmp_path, 1)
    seal_again(path, lambda content: without(content["state"], missing))
    with pytest.raises(Damaged, match=rf"does not hold what this version of dbmpi wrote: state.*{missing}"):
        manifest.read(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("part", 3), ("index", 9), ("first", 2), ("minibatches", 0), ("part", "a"), ("plan", {"rows": 9})],
)
def test_a_portion_that_its_plan_does_not_have_is_refused(tmp_path, name, value):
    path = save(tmp_path, 1)

    def change(content):
        content["state"]["downpour"]["ledger"]["outstanding"][0][name] = value

    seal_again(path, change)
    with pytest.raises(Damaged, match="does not hold what this version of dbmpi wrote: "):
        manifest.read(path)


def without(content, name):
    """Remove a name at whatever depth it stands."""
    content.pop(name, None)
    for value in content.values():
        if isinstance(value, dict):
            without(value, name)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b'{"sha256": 3}', b"[" * 100_000])
def test_a_manifest_that_is_none_is_refused(tmp_path, content):
    path = save(tmp_path, 1) / MANIFEST
    path.write_bytes(content)
    assert found(tmp_path) == ["000001/manifest.json"]


def test_the_newest_and_the_best_are_kept(tmp_path):
    for number, score in enumerate([0.5, 0.9, 0.7, None, 0.8], 1):
        save(tmp_path, number, score=score)
    assert best_of(tmp_path) == (0.9, 2)
    prune(owner(tmp_path), 2, 2)
    assert found(tmp_path) == [5, 4, 2]
    prune(owner(tmp_path), 1, None)
    assert found(tmp_path) == [5]


def test_damaged_ones_do_not_count_and_go_when_enough_newer_ones_are_there(tmp_path):
    for number in (1, 2, 3, 4):
        save(tmp_path, number)
    (checkpoint_directory(tmp_path, 4) / INDEX).write_bytes(b"cut")
    (checkpoint_directory(tmp_path, 3) / MANIFEST).unlink()
    prune(owner(tmp_path), 2, None)
    assert checkpoint_numbers(tmp_path) == [4, 3, 2, 1]
    save(tmp_path, 5)
    prune(owner(tmp_path), 2, None)
    assert checkpoint_numbers(tmp_path) == [5, 4, 3, 2]
    save(tmp_path, 6)
    prune(owner(tmp_path), 2, None)
    assert checkpoint_numbers(tmp_path) == [6, 5]


def test_a_damaged_one_is_not_the_best(tmp_path):
    for number, score in ((1, 0.9), (2, 0.5)):
        save(tmp_path, number, score=score)
    (checkpoint_directory(tmp_path, 1) / INDEX).unlink()
    assert best_of(tmp_path) == (0.5, 2)


def test_a_damaged_one_of_the_same_number_is_replaced(tmp_path):
    (save(tmp_path, 1) / INDEX).write_bytes(b"")
    save(tmp_path, 1)
    assert found(tmp_path) == [1]


def test_a_checkpoint_can_be_moved(tmp_path):
    save(tmp_path / "a", 1)
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert found(tmp_path / "b") == [1] and found(tmp_path / "a") == []
