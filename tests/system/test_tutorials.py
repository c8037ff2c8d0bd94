"""The commands and Python blocks of first run and tutorials, run as they stand there: see pages.py."""

import pytest

pytestmark = pytest.mark.beside

NEEDS = {"images": "PIL", "search": "optuna", "table": "sklearn"}  # beyond dbmpi
LEAVES = {
    "images": "names.csv",
    "partitions": "runs/big/finished",
    "search": "runs/search/001/model.h5",
    "speech": "runs/vowels/model.h5",
    "table": "runs/alcohol/model.h5",
}


def test_the_first_run(follow, tmp_path):
    follow("first-run.md")
    assert (tmp_path / "runs" / "third" / "model.h5").exists()


@pytest.mark.parametrize("name", LEAVES)
def test_the_tutorial(name, follow, tmp_path, environment):
    if name == "search" and environment.mpi != "openmpi":
        pytest.skip("its trials are started with words of Open MPI")
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    follow(f"tutorials/{name}.md")
    assert (tmp_path / LEAVES[name]).exists()
