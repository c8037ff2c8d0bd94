"""Where the real data lies with which some tests check: it is no part of the project and may be absent."""

from pathlib import Path

import pytest

from tests import ROOT

SHARED = ROOT.parent / "shared" / "data"


def mnist() -> Path:
    """Return the folder of MNIST's four IDX files; skip the test where there is none."""
    folder = SHARED / "mnist"
    if not folder.is_dir():
        pytest.skip(f"MNIST is not in {folder}")
    return folder
