"""The commands and Python blocks of the how-to guides, run as they stand there: see pages.py."""

import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from dbmpi.data import digits
from tests.system import pages
from tests.system.pages import DOCS

pytestmark = pytest.mark.beside

LEAVES = {
    "files.md": "runs/a/finished",
    "how-to/choose-ranks.md": "runs/a/finished",
    "how-to/fine-tune.md": "runs/even/finished",
    "how-to/go-on.md": "runs/a/finished",
    "how-to/install-on-a-cluster.md": "examples",
    "how-to/repeat.md": "runs/two/finished",
    "how-to/stop-early.md": "runs/target/finished",
    "how-to/survive-deaths.md": "runs/hard/finished",
    "how-to/watch.md": "runs/a/finished",
    "predict.md": "out.h5",
    "python.md": "runs/diabetes/model.h5",
}
ELSEWHERE = {"how-to/container.md"}  # it wants Apptainer


def ask(folder: Path) -> None:
    """Make what pages ask about: a run in runs/a, and rows of others in new.h5 and table.csv."""
    words = "-m dbmpi.train --run-dir runs/a --set train.epochs=3 output.progress=none"
    subprocess.run([sys.executable, *words.split()], cwd=folder, check=True, timeout=60)
    with h5py.File(digits.path()) as file, h5py.File(folder / "new.h5", "w") as new:
        x, new["y"] = file["test/x"][:50], file["test/y"][:50]
        new["x"] = x
        new["x"].attrs.update(file["test/x"].attrs)
    names = ",".join(f"pixel{number}" for number in range(64))
    np.savetxt(folder / "table.csv", x.reshape(-1, 64), "%d", ",", header=names, comments="")


@pytest.mark.parametrize("page", LEAVES)
def test_the_guide(page, follow, tmp_path, environment):
    if page == "how-to/survive-deaths.md" and environment.mpi != "openmpi":
        pytest.skip("ULFM is Open MPI's")
    if page == "python.md":
        pytest.importorskip("sklearn", "1.6")
    if page in ("files.md", "predict.md"):
        ask(tmp_path)
    follow(page)
    assert (tmp_path / LEAVES[page]).exists()


def test_every_guide_is_tried():
    assert {f"how-to/{path.name}" for path in (DOCS / "how-to").iterdir()} <= LEAVES.keys() | ELSEWHERE


GUIDES = [*(DOCS / "how-to").iterdir(), *(DOCS / "tutorials").iterdir(), DOCS / "first-run.md"]


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_no_block_is_left_out(path):
    found = pages.blocks(str(path.relative_to(DOCS)))
    assert {block.language for block in found if not block.file} <= {"sh", "python", "text"}
    prose = pages.BLOCK.sub("", path.read_text())
    assert not re.search(r"^    (?:python|mpirun|sbatch) ", prose, re.MULTILINE)
