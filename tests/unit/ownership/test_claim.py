"""Who owns a run directory: one of many that try, and who takes it over when."""

import errno
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from dbmpi import awake
from dbmpi.errors import DirectoryOwned, Fenced, TakenOver, UserError
from dbmpi.ownership import claim as claiming
from dbmpi.ownership import identity, record
from dbmpi.ownership.claim import Claimant, claim, succeed
from dbmpi.ownership.identity import Identity
from dbmpi.ownership.owned import OwnedDirectory
from dbmpi.ownership.record import RECORD

ELSEWHERE = replace(Identity.own({}), host="elsewhere")


def held(path: Path, by: Identity = ELSEWHERE, lease_s: float = 5.0) -> OwnedDirectory:
    """A directory that a process owns."""
    claimed = claim(path, max(record.generations(path), default=0) + 1, lease_s, by, False)
    assert claimed is not None
    return claimed[0]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of claimants: `clock[0]`."""
    now = [100.0]
    monkeypatch.setattr(awake.time, "monotonic", lambda: now[0])
    return now


def test_of_many_that_try_at_once_one_wins(tmp_path: Path) -> None:
    for generation in range(1, 6):
        with ThreadPoolExecutor(16) as pool:
            tries = [pool.submit(claim, tmp_path, generation, 5.0, ELSEWHERE, False) for _ in range(16)]
        assert sum(one.result() is not None for one in tries) == 1
        assert os.listdir(tmp_path / ".owner") == [f"{generation:06d}"]


def test_a_claim_that_comes_too_late_is_lost_and_leaves_nothing(tmp_path: Path) -> None:
    held(tmp_path), held(tmp_path)
    assert claim(tmp_path, 1, 5.0, ELSEWHERE, False) is None  # though no room 1 is there any more
    assert os.listdir(tmp_path / ".owner") == ["000002"]


def test_a_process_that_is_gone_gives_way_at_once_and_one_that_lives_does_not(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        me = Identity.own({})
        held(tmp_path, replace(me, pid=child.pid, start=0))
        assert Claimant(tmp_path, 5.0).attempt() is None
        child.communicate(b"\n")
    claimed = Claimant(tmp_path, 5.0).attempt()
    assert claimed is not None and (claimed[0].generation, claimed[0].uncertain) == (2, False)


def test_a_process_that_is_gone_and_whose_launcher_lives_may_have_a_successor(tmp_path: Path) -> None:
    me = Identity.own({}, keeper=os.getpid())
    held(tmp_path, replace(me, start=1))
    assert Claimant(tmp_path, 5.0).attempt() is None
    held(tmp_path, replace(me, start=1, keeper_start=1))
    assert Claimant(tmp_path, 5.0).attempt() is not None


def test_a_process_of_another_boot_is_gone_and_one_in_another_namespace_may_live() -> None:
    me = replace(Identity.own({}), machine="m", boot="b", namespace="n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identity, "_place", lambda: (me.host, "m", "b", "n"))
        assert replace(me, boot="a").is_gone() and not replace(me, namespace="o", start=1).is_gone()
        assert not replace(me, machine="k", boot="a").is_gone() and not replace(me, boot="").is_gone()


def test_a_process_id_that_another_process_has_now_is_gone(tmp_path: Path) -> None:
    held(tmp_path, replace(Identity.own({}), start=1))
    assert Claimant(tmp_path, 5.0).attempt() is not None


@pytest.mark.parametrize(("job", "count", "taken"), [("7", "1", True), ("7", "0", False), ("8", "1", False)])
def test_a_job_that_was_put_back_into_the_queue_takes_over_from_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: str, count: str, taken: bool
) -> None:
    held(tmp_path, replace(ELSEWHERE, job="7"))
    monkeypatch.setenv("SLURM_JOB_ID", job)
    monkeypatch.setenv("SLURM_RESTART_COUNT", count)
    claimed = Claimant(tmp_path, 5.0).attempt()
    assert (claimed is not None and claimed[0].uncertain) is taken


def test_another_owner_gives_way_when_its_record_has_not_changed_for_its_lease(
    tmp_path: Path, clock: list[float]
) -> None:
    owned = held(tmp_path)
    other = record.Owner.of(record.read(tmp_path, 1))
    assert other is not None
    waiting = Claimant(tmp_path, 60.0)
    for second in range(4):
        clock[0] += 1
        assert waiting.attempt() is None, second
    other = record.renew(tmp_path, 1, other)
    for second in range(5):
        assert waiting.attempt() is None, second
        clock[0] += 1
    with pytest.raises(
        DirectoryOwned, match="belongs to another run: process .* on elsewhere, since .*--wait"
    ):
        raise waiting.refusal()
    claimed = waiting.attempt()
    assert claimed is not None and claimed[0].uncertain
    with pytest.raises(TakenOver):
        owned.check()


def test_standing_still_is_not_watching(tmp_path: Path, clock: list[float]) -> None:
    held(tmp_path)
    waiting = Claimant(tmp_path, 60.0)
    assert waiting.attempt() is None
    clock[0] += 1000
    assert waiting.attempt() is None and waiting.watched_s <= claiming.LONGEST_LOOK_S


def with_identity(**changes: object) -> bytes:
    """A record of a process that there cannot be."""
    owner = record.Owner(ELSEWHERE, "a", "b", "c", 5.0)
    return json.dumps(asdict(owner) | {"identity": asdict(ELSEWHERE) | changes}).encode()


DAMAGED = [
    b"",
    b"{",
    b"[]",
    b'{"lease_s": 1e400}',
    b"\xff" * 3000,
    with_identity(pid=10**30),
    with_identity(pid=-1),
    with_identity(host="\x1b[2J"),
    with_identity(job="a\nb"),
]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_record_is_waited_for_as_long_as_a_lease(
    tmp_path: Path, clock: list[float], content: bytes
) -> None:
    (held(tmp_path).room / record.RECORD).write_bytes(content)
    waiting = Claimant(tmp_path, 4.0)
    assert waiting.attempt() is None and "cannot be read" in str(waiting.refusal())
    for _ in range(2):
        clock[0] += 2
        claimed = waiting.attempt()
    assert claimed is not None and claimed[0].generation == 2


def test_foreign_files_in_the_way_are_told_or_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a" / ".owner").mkdir(parents=True)
    (tmp_path / "a" / ".owner" / "notes").touch()
    held(tmp_path / "a")
    assert sorted(os.listdir(tmp_path / "a" / ".owner")) == ["000001", "notes"]
    (tmp_path / ".owner").touch()
    with pytest.raises(UserError, match="owner is no directory"):
        Claimant(tmp_path, 5.0).attempt()


def test_a_record_that_cannot_be_read_at_first_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(tmp_path)
    whole, read, faults = (
        record.read(tmp_path, 1),
        os.read,
        [OSError(errno.EIO, "io"), OSError(errno.ESTALE, "stale")],
    )
    monkeypatch.setattr(record.os, "read", lambda *place: fail(faults.pop()) if faults else read(*place))
    assert record.read(tmp_path, 1) == whole != b""


def test_who_cannot_read_its_new_record_owns_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "read", lambda *place: b"")
    assert claim(tmp_path, 1, 5.0, ELSEWHERE, False) is not None


def fail(error: OSError) -> bytes:
    raise error


def test_what_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, owner: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record, "write_new", full)
    with pytest.raises(UserError, match="run directory .*: No space left on device: give another"):
        Claimant(tmp_path, 5.0).attempt()
    assert os.listdir(tmp_path / ".owner") == []


def test_a_file_system_that_cannot_rename_a_directory_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unable(path: Path, to: Path) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(Path, "rename", unable)
    with pytest.raises(UserError, match="Function not implemented"):
        Claimant(tmp_path, 5.0).attempt()


def test_shards_take_over_within_their_job_one_after_another_and_not_from_another_job(tmp_path: Path) -> None:
    owned = held(tmp_path)
    first, second = succeed(owned, 3.0), succeed(owned, 3.0)  # the first of them has died since
    assert (first[0].generation, second[0].generation) == (2, 3) and second[1].lease_s == 3.0
    for earlier in (owned, first[0]):
        with pytest.raises(Fenced):  # the run goes on without it, and nobody has taken anything from the job
            earlier.check()
    held(tmp_path)
    with pytest.raises(TakenOver):
        succeed(owned, 3.0)


@pytest.mark.parametrize("record", [b"", b"{"])
def test_the_lease_of_a_successor_is_its_own_whatever_the_record_before_is(
    tmp_path: Path, record: bytes
) -> None:
    owned = held(tmp_path)
    (owned.room / RECORD).write_bytes(record)
    assert succeed(owned, 3.0)[1].lease_s == 3.0


@pytest.mark.parametrize("what", ["directory", "pipe", "link", "nothing"])
def test_what_is_no_record_is_waited_for_and_what_a_link_names_stays(
    tmp_path: Path, clock: list[float], what: str
) -> None:
    path, elsewhere = held(tmp_path / "run").room / RECORD, tmp_path / "precious"
    owner = record.Owner.of(path.read_bytes())
    elsewhere.write_text("precious")
    path.unlink()
    made = {
        "directory": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "link": lambda: path.symlink_to(elsewhere),
    }
    made.get(what, lambda: None)()
    assert owner is not None
    with pytest.raises(OSError):
        record.renew(tmp_path / "run", 1, owner)
    waiting = Claimant(tmp_path / "run", 2.0)
    assert waiting.attempt() is None
    clock[0] += 2
    assert waiting.attempt() is not None and elsewhere.read_text() == "precious"


def test_what_the_environment_calls_a_job_can_be_read_again() -> None:
    me = Identity.own({"SLURM_JOB_ID": "7\n\udcff", "SLURM_CLUSTER_NAME": "x" * 500})
    assert Identity.of(json.loads(json.dumps(asdict(me)))) == me
