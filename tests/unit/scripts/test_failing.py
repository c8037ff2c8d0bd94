"""What `scripts/chaos every-call` is made of: the library that makes a call fail, the table, the audit."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from scripts.chaos.failing import audit, preload
from scripts.chaos.failing.faults import ERRORS, Call, Fault, faults_of, read_trace
from scripts.chaos.failing.promises import FILES, PROMISES, file_of, promised
from tests import ROOT

needs_compiler = pytest.mark.skipif(preload.compiler() is None, reason="needs a C compiler: cc or gcc")
WRITE = """
import os, sys
for name in sys.argv[1:]:
    for _ in range(2):
        try:
            with open(name, "ab", buffering=0) as file:
                print(file.write(b"12345678"))
                os.fsync(file.fileno())
        except OSError as error:
            print(error.strerror)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    return preload.build(tmp_path_factory.mktemp("library"))


@pytest.fixture
def write(library, tmp_path):
    """Return a function that writes to two files twice under a fault, and returns what was said and left."""

    def run(**told):
        files = [tmp_path / "run" / name for name in ("a", "b")]
        files[0].parent.mkdir()
        words = preload.under(library, {"run": tmp_path / "run"}, **told)
        done = subprocess.run(
            [*words, sys.executable, "-c", WRITE, *files], capture_output=True, text=True, check=True
        )
        return done.stdout.splitlines(), [file.stat().st_size if file.exists() else None for file in files]

    return run


FULL, BROKEN = "No space left on device", "Input/output error"


@needs_compiler
@pytest.mark.parametrize(
    "kind, occurrence, error, said, left",
    [
        ("write", 1, "ENOSPC", [FULL, "8", "8", "8"], [8, 16]),
        ("write", 2, "short", ["8", "4", "8", "8"], [12, 16]),
        ("write", 2, "full", ["8", FULL, FULL, FULL], [8, None]),
        ("create", 1, "EIO", [BROKEN, "8", "8", "8"], [8, 16]),
        ("create", 1, "full", [FULL] * 4, [None, None]),
        ("fsync", 1, "EIO", ["8", BROKEN, "8", "8", "8"], [16, 16]),
        ("close", 2, "EIO", ["8", "8", BROKEN, "8", "8"], [16, 16]),
        ("write", 3, "EIO", ["8", "8", "8", "8"], [16, 16]),
    ],
)
def test_one_call_fails_as_it_is_told(write, tmp_path, kind, occurrence, error, said, left):
    fault, hit = Fault(Call(0, kind, "run/a", occurrence), error), tmp_path / "hit"
    assert write(fail=fault.told, hit=hit) == (said, left)
    assert hit.exists() == (occurrence < 3)


@needs_compiler
def test_the_trace_names_each_call_by_what_it_does_to_what(write, tmp_path):
    write(trace=tmp_path / "trace")
    calls = read_trace(tmp_path / "trace")
    assert {call.path for call in calls} == {"run/a", "run/b"}  # nothing of what lies elsewhere
    assert [call.occurrence for call in calls if (call.kind, call.path) == ("write", "run/b")] == [1, 2]
    assert {call.kind for call in calls} <= set(ERRORS)


def test_the_first_call_of_a_kind_has_all_faults_and_the_others_one_in_turn():
    writes = [Call(0, "write", "run/metrics.jsonl", count) for count in (1, 2, 3)]
    tried = list(faults_of(writes))
    first, second, third = ([fault.error for fault in tried if fault.call is one] for one in writes)
    assert first == ["ENOSPC", "short", "EIO", "full"]
    assert len(second) == len(third) == 1 and second != third


def test_of_kinds_that_were_tried_elsewhere_one_is_tried_again():
    writes = [Call(0, "write", "run/metrics.jsonl", count) for count in (1, 2, 3)]
    assert [fault.call for fault in faults_of(writes, known=writes)] == writes[:1]


def test_the_table_promises_something_for_every_call_on_every_file():
    for file in (*FILES.values(), "last checkpoint", "run/something"):
        for kind, errors in ERRORS.items():
            assert all(any(row.covers(file, kind, error) for row in PROMISES) for error in errors)
    assert set().union(*(row.ends.split() for row in PROMISES)) == {"0", "1", "2", "85"}


def test_the_last_checkpoint_is_promised_something_else_than_those_before():
    def of(path: str) -> tuple[str, str]:
        row = promised(Fault(Call(0, "write", path, 1), "ENOSPC"), last=3)
        return file_of(path, last=3), row.ends

    assert of("run/.owner/000001/000002.part/shard-0000.h5") == ("checkpoint", "0")
    assert of("run/.owner/000001/000003.part/shard-0000.h5") == ("last checkpoint", "0 85")


SAVED = ROOT / "tests" / "saved"
RUN = next(path.parent for path in sorted(SAVED.rglob("checkpoints")))


def test_the_audit_reads_a_saved_run(tmp_path):
    found = [one for _, one in audit.checkpoints(RUN)]
    assert found and all(isinstance(one, audit.Saved) and "parameters" in one.vectors for one in found)


def spoil_shard(directory: Path) -> None:
    with h5py.File(directory / "shard-0000.h5", "a") as file:
        file["parameters"][0] = 7.0


def spoil_manifest(directory: Path) -> None:
    path = directory / "manifest.json"
    path.write_text(path.read_text().replace('"number": ', '"number": 1'))


@pytest.mark.parametrize(
    "spoil",
    [spoil_shard, spoil_manifest, lambda directory: (directory / "index.h5").unlink()],
    ids=["shard", "manifest", "index"],
)
def test_the_audit_finds_a_false_claim(tmp_path, spoil):
    shutil.copytree(RUN, tmp_path / "run")
    newest = max((tmp_path / "run" / "checkpoints").iterdir())
    spoil(newest)
    number, found = next(audit.checkpoints(tmp_path / "run"))
    assert number == int(newest.name) and isinstance(found, audit.Broken)


def test_the_audit_counts_broken_lines_but_for_the_last(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"a": 1}) + '\n{"half\n{"half')
    assert audit.broken_lines(tmp_path) == 1
