"""No environment becomes a traceback: the fast ones of `scripts/chaos environments`, which starts all."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from scripts.chaos import environments
from scripts.chaos.failing.surroundings import ALL

pytestmark = pytest.mark.beside


def test_every_environment_works_or_ends_in_one_line(tmp_path):
    tmp_path.chmod(0o755)
    chosen = [one for one in ALL if not one.slow and environments.possible(one)]
    assert len(chosen) >= 30
    first, *others = sorted(chosen, key=lambda one: one.command == "dry")
    outcomes = [environments.attempt(first, tmp_path)]  # compiles, if nothing has before
    with ThreadPoolExecutor(2) as pool:
        outcomes += pool.map(lambda one: environments.attempt(one, tmp_path), others)
    assert not {one.of.name: (one.wrong, one.done.err) for one in outcomes if one.wrong}
