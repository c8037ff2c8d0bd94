"""An owner that was taken over changes nothing, whatever it does; and its lease ends it."""

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dbmpi.errors import TakenOver, UserError
from dbmpi.ownership import record
from dbmpi.ownership.lease import Lease
from dbmpi.ownership.owned import OwnedDirectory
from tests.doubles.owner import owner
from tests.unit.ownership.test_claim import held


def content(path: Path) -> dict[str, bytes]:
    """All files of a directory."""
    return {str(one.relative_to(path)): one.read_bytes() for one in path.rglob("*") if one.is_file()}


ATTEMPTS: dict[str, Callable[[OwnedDirectory], object]] = {
    "write": lambda owned: owned.write_text("summary.json", "old"),
    "write json": lambda owned: owned.write_json("run.json", {"old": 1}),
    "remove a file": lambda owned: owned.remove(owned.path / "finished"),
    "remove a checkpoint": lambda owned: owned.remove(owned.path / "checkpoints" / "000001"),
    "detach": lambda owned: owned.detach("finished"),
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_an_owner_that_was_taken_over_changes_nothing(tmp_path: Path, name: str) -> None:
    old = owner(tmp_path)
    (tmp_path / "checkpoints" / "000001").mkdir()
    for file in ("finished", "checkpoints/000001/manifest.json", "summary.json"):
        (tmp_path / file).write_text("new")
    owner(tmp_path)
    before = content(tmp_path)
    with pytest.raises(TakenOver, match="taken over by process .* nothing there since"):
        ATTEMPTS[name](old)
    assert content(tmp_path) == before


def test_what_was_begun_before_the_takeover_gets_no_name(tmp_path: Path) -> None:
    old = owner(tmp_path)
    with pytest.raises(TakenOver), old.replacing("model.h5") as temporary:
        temporary.write_bytes(b"old")
        owner(tmp_path)
    assert "model.h5" not in content(tmp_path)


def test_an_owner_writes_and_removes_and_leaves_its_room_empty(tmp_path: Path) -> None:
    owned = owner(tmp_path)
    owned.write_json("run.json", {"a": 1})
    owned.remove(tmp_path / "run.json")
    owned.remove(tmp_path / "checkpoints")
    owned.remove(tmp_path / "nothing")
    assert os.listdir(tmp_path) == [".owner"] and os.listdir(owned.room) == [record.RECORD]


def test_a_file_that_is_detached_is_another_one_with_the_same_content(tmp_path: Path) -> None:
    owned = owner(tmp_path)
    owned.detach("metrics.jsonl")  # there is none
    with (tmp_path / "metrics.jsonl").open("w", buffering=1) as file:
        file.write("a\n")
        owned.detach("metrics.jsonl")
        file.write("b\n")
    assert (tmp_path / "metrics.jsonl").read_text() == "a\n"


def leased(path: Path, warnings: list[str], lease_s: float = 0.04) -> Lease:
    owned = held(path)
    said = record.Owner.of(record.read(path, owned.generation))
    assert said is not None
    return Lease(owned, record.replace(said, lease_s=lease_s), warnings.append)


def wait_until(done: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_lease_is_renewed_until_it_is_released(tmp_path: Path) -> None:
    warnings: list[str] = []
    lease = leased(tmp_path, warnings)
    first = record.read(tmp_path, 1)
    wait_until(lambda: record.read(tmp_path, 1) != first)
    lease.release()
    lease.release()
    said = record.Owner.of(record.read(tmp_path, 1))
    assert said is not None and said.ended and not warnings


def test_a_lease_that_cannot_be_renewed_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    tries: list[int] = []

    def full(*ignored: object) -> record.Owner:
        tries.append(1)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record, "renew", full)
    lease = leased(tmp_path, warnings)
    wait_until(lambda: len(tries) > 3)
    lease.release()
    assert len(warnings) == 1 and "cannot be renewed: No space left on device" in warnings[0]


def test_a_room_that_somebody_has_removed_is_made_again(tmp_path: Path) -> None:
    lease = leased(tmp_path, [])
    shutil.rmtree(tmp_path / record.OWNER)
    wait_until(lambda: record.Owner.of(record.read(tmp_path, 1)))
    lease.release()
    assert os.listdir(tmp_path / record.OWNER) == ["000001"]


def test_the_lease_of_an_owner_that_was_taken_over_ends_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: raised.append(args.exc_type))
    leased(tmp_path, [])
    held(tmp_path)
    wait_until(lambda: raised)
    assert raised == [TakenOver]


def test_a_record_that_was_damaged_is_written_again_and_another_ones_is_not(tmp_path: Path) -> None:
    owned = held(tmp_path)
    mine = record.Owner.of(record.read(tmp_path, 1))
    assert mine is not None
    (owned.room / record.RECORD).write_bytes(b"{")
    record.renew(tmp_path, 1, mine)
    there = record.Owner.of(record.read(tmp_path, 1))
    assert there is not None and there.token == mine.token
    with pytest.raises(OSError, match="the record of"):
        record.renew(tmp_path, 1, record.replace(mine, token="another"))


def test_what_fails_for_another_reason_is_told_as_before(tmp_path: Path) -> None:
    owned = owner(tmp_path)
    (tmp_path / "summary.json").mkdir()
    with pytest.raises(UserError, match="summary.json: cannot be written"):
        owned.write_text("summary.json", "x")
