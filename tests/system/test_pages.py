"""The commands and Python blocks of tutorials and how-to guides, run as they stand there: see pages.py."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from dbmpi.data import digits
from scripts.launcher import Environment
from tests import ROOT
from tests.system import pages
from tests.system.pages import DOCS

pytestmark = pytest.mark.beside

# What a page wants beyond dbmpi, and what it must have said or left at its end.
NEEDS = {
    "python.md": ["sklearn"],
    "tutorials/images.md": ["PIL"],
    "tutorials/search.md": ["optuna"],
    "tutorials/table.md": ["sklearn"],
}
LEAVES = {
    "first-run.md": "runs/third/model.h5",
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
    "tutorials/images.md": "names.csv",
    "tutorials/partitions.md": "runs/big/finished",
    "tutorials/search.md": "runs/search/001/model.h5",
    "tutorials/speech.md": "runs/vowels/model.h5",
    "tutorials/table.md": "runs/alcohol/model.h5",
}


def ask(folder: Path) -> None:
    """Make what predict.md asks about: the model of a run, and rows of others."""
    words = "-m dbmpi.train --run-dir runs/a --set train.epochs=3 output.progress=none"
    subprocess.run([sys.executable, *words.split()], cwd=folder, check=True, timeout=60)
    with h5py.File(digits.path()) as file, h5py.File(folder / "new.h5", "w") as new:
        x, new["y"] = file["test/x"][:50], file["test/y"][:50]
        new["x"] = x
        new["x"].attrs.update(file["test/x"].attrs)
    names = ",".join(f"pixel{number}" for number in range(64))
    np.savetxt(folder / "table.csv", x.reshape(-1, 64), "%d", ",", header=names, comments="")


MAKERS = {"predict.md": ask}  # what a page takes for granted
ELSEWHERE = {"tutorials/slurm.md", "how-to/container.md"}  # test_slurm_pages.py; it wants Apptainer


@pytest.fixture
def run(environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Return run(page), which runs the blocks of a page in the test's directory and returns what they say."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("examples", "slurm"):  # a reader is in a clone
        (tmp_path / name).symlink_to(ROOT / name)
    return lambda page: pages.run_page(page, tmp_path, pages.variables(environment))


@pytest.mark.parametrize("page", LEAVES)
def test_the_blocks_of_the_page_run_one_after_another(page, run, tmp_path):
    for module in NEEDS.get(page, []):
        pytest.importorskip(module)
    MAKERS.get(page, lambda folder: None)(tmp_path)
    run(page)
    assert (tmp_path / LEAVES[page]).exists()


def test_no_block_of_a_tutorial_or_guide_is_left_out():
    guides = {
        f"{folder}/{path.name}" for folder in ("tutorials", "how-to") for path in (DOCS / folder).iterdir()
    }
    assert guides <= LEAVES.keys() | ELSEWHERE
    for page in guides | {"first-run.md"}:
        languages = {block.language for block in pages.blocks(page) if not block.file}
        assert languages <= {"sh", "python", "text"}, page
        prose = pages.BLOCK.sub("", (DOCS / page).read_text())
        assert not re.search(r"^    (?:python|mpirun|sbatch) ", prose, re.MULTILINE), page
