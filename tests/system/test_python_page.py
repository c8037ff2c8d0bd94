"""What docs/python.md shows, run as it stands there."""

import re
from pathlib import Path

import pytest

from scripts.launcher import Environment
from tests import ROOT

pytest.importorskip("sklearn", "1.6")

BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "python.md").read_text(), re.M | re.S)


@pytest.mark.beside
def test_the_blocks_of_the_page_run_one_after_another(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    said: dict[str, object] = {}
    assert len(BLOCKS) > 4
    for block in BLOCKS:
        exec(compile(block, "docs/python.md", "exec"), said)
    assert (tmp_path / "runs" / "diabetes" / "model.h5").exists()
