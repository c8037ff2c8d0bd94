"""Folders of scripts are started by their path, from any directory. Runs none of what they are for."""

import ast
import subprocess
import sys

import pytest

from tests import ROOT

SCRIPTS = ROOT / "scripts"


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a folder of scripts by its path, from a directory of no interest."""

    def run(folder, *arguments):
        command = [sys.executable, SCRIPTS / folder, *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    return run


@pytest.mark.parametrize(
    "folder, option", [("compare", "--replicas"), ("chaos", "--tries"), ("diagnose", "--keep")]
)
def test_a_folder_tells_its_options(start, folder, option):
    done = start(folder, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: scripts/{folder} [-h]") and option in done.stdout


@pytest.mark.parametrize("folder", ["compare", "chaos", "diagnose"])
def test_a_wrong_option_ends_with_status_2(start, folder):
    done = start(folder, "--nothing")
    assert done.returncode == 2 and "--nothing" in done.stderr


def test_a_kind_that_there_is_not_ends_with_status_2_and_the_list(start):
    done = start("chaos", "kil")
    assert done.returncode == 2 and "there is no kind kil: none, kill, " in done.stderr


def test_every_call_tells_its_options(start):
    done = start("chaos", "every-call", "--help")
    assert done.returncode == 0 and done.stdout.startswith("usage: scripts/chaos every-call [-h]")


def test_scripts_take_nothing_from_the_tests():
    found = []
    for path in SCRIPTS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{path}: {name}" for name in names if name.partition(".")[0] == "tests"]
    assert not found
