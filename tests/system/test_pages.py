"""The commands and Python blocks of tutorials and how-to guides, run as they stand there: see pages.py."""

from pathlib import Path

import pytest

from scripts.launcher import Environment
from tests import ROOT
from tests.system import pages

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
    "how-to/stop-early.md": "runs/average/finished",
    "how-to/survive-deaths.md": "runs/hard/finished",
    "how-to/watch.md": "runs/a/finished",
    "python.md": "runs/diabetes/model.h5",
    "tutorials/images.md": "names.csv",
    "tutorials/partitions.md": "runs/big/finished",
    "tutorials/search.md": "runs/search/001/model.h5",
    "tutorials/speech.md": "runs/vowels/model.h5",
    "tutorials/table.md": "runs/alcohol/model.h5",
}


@pytest.fixture
def run(environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
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
    run(page)
    assert (tmp_path / LEAVES[page]).exists()
