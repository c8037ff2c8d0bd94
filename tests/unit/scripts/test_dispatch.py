"""scripts/chaos and scripts/compare: found by name, from any directory. Runs none of them."""

import ast
import subprocess
import sys

import pytest

from scripts import dispatch
from tests import ROOT

SCRIPTS = ROOT / "scripts"
NAMES = {
    "chaos": ["calls", "kill_coordinator", "kill_replicas", "kill_shards", "kill_writers", "two_jobs"],
}
PAIRS = [(folder, name) for folder, names in NAMES.items() for name in names]


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a folder of scripts by its path, from a directory of no interest."""

    def run(folder, *arguments):
        command = [sys.executable, SCRIPTS / folder, *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    return run


@pytest.mark.parametrize("folder", NAMES)
def test_the_scripts_of_a_folder_are_those_with_a_main(folder):
    found = dispatch.members(SCRIPTS / folder)
    assert list(found) == NAMES[folder]
    assert all(what.endswith(".") for what in found.values())


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]], ids=str)
@pytest.mark.parametrize("folder", NAMES)
def test_a_folder_lists_its_scripts(start, folder, arguments):
    done = start(folder, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()[2:]] == NAMES[folder]


@pytest.mark.parametrize("name", ["victims", "__main__", "calls.py", "--quick", ""])
@pytest.mark.parametrize("folder", NAMES)
def test_an_unknown_name_ends_with_status_2_and_the_list(start, folder, name):
    done = start(folder, name)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"scripts/{folder}: there is no {name}\n")
    assert all(f"\n  {known} " in done.stderr for known in NAMES[folder])


@pytest.mark.parametrize("folder, name", PAIRS)
def test_each_script_tells_its_options(start, folder, name):
    done = start(folder, name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: scripts/{folder} {name} [-h]")
    assert dispatch.members(SCRIPTS / folder)[name] in done.stdout


def test_compare_tells_its_options(start):
    done = start("compare", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: scripts/compare [-h]") and "--replicas" in done.stdout


@pytest.mark.parametrize("folder", [*NAMES, "compare"])
def test_a_wrong_option_ends_with_status_2(start, folder):
    done = start(folder, *NAMES.get(folder, [])[:1], "--nothing")
    assert done.returncode == 2 and "--nothing" in done.stderr


def test_the_status_of_a_script_is_that_of_the_program(tmp_path, monkeypatch):
    module = type("module", (), {"main": staticmethod(lambda arguments: len(arguments) or None)})
    (tmp_path / "one.py").write_text('"""Count."""\n\n\ndef main(arguments): ...\n')
    monkeypatch.setitem(sys.modules, f"scripts.{tmp_path.name}.one", module)
    assert dispatch.run(tmp_path, ["one"]) == 0
    assert dispatch.run(tmp_path, ["one", "--quick", "7"]) == 2


def test_scripts_take_nothing_from_the_tests():
    found = []
    for path in SCRIPTS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{path}: {name}" for name in names if name.partition(".")[0] == "tests"]
    assert not found
