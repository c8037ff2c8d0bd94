"""The owner of a run directory, for tests that write what a run writes."""

from pathlib import Path

from dbmpi.checkpoint.directory import prepare
from dbmpi.ownership import record
from dbmpi.ownership.claim import claim
from dbmpi.ownership.identity import Identity
from dbmpi.ownership.lease import give_up
from dbmpi.ownership.owned import OwnedDirectory


def owner(run_dir: Path) -> OwnedDirectory:
    """Take a directory, made if it is not there, as its next owner, which has ended already."""
    run_dir.mkdir(parents=True, exist_ok=True)
    claimed = claim(run_dir, max(record.generations(run_dir), default=0) + 1, 60.0, Identity.own(), False)
    assert claimed is not None
    give_up(*claimed)
    return prepare(claimed[0])
