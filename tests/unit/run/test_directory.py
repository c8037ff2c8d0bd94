"""Which directory a run is in: a new one, or that of the run that is meant; a user's files are left alone."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from dbmpi.config.load import load
from dbmpi.config.sections import Config
from dbmpi.config.toml import to_toml
from dbmpi.errors import DirectoryOwned, UserError
from dbmpi.layout.topology import assign_roles
from dbmpi.output import run_directory
from dbmpi.run.plan.directory import Opening
from dbmpi.run.plan.naming import RUNS, go_on, run_name, source
from dbmpi.run.start.cli import Arguments
from tests.doubles.checkpoints import save
from tests.doubles.owner import owner
from tests.unit.ownership.test_claim import held

NOW = datetime(2026, 3, 4, 5, 6, 7)
RESUME = Arguments(Path("a.toml"), resume=True)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def nothing(saved: Any) -> dict[str, Any]:
    """Stand for the model of a run: there are no checkpoints here."""
    return {}


def opened(arguments: Arguments, *settings: str) -> Path:
    """The directory that a command line gets."""
    opening = Opening(arguments, load(None, settings), nothing)
    opening.begun = True
    try:
        owned = opening.attempt()
    finally:
        opening.close()
    assert owned is not None
    return owned.path


def a_run(name: str, source: str | None = "a.toml") -> Path:
    """A run directory with a checkpoint."""
    path = RUNS / name
    save(path)
    if source is not None:
        (path / "run.json").write_text(json.dumps({"source": source}))
    return path.absolute()


@pytest.mark.parametrize(
    ("config", "data", "name"),
    [
        (None, "digits", "digits"),
        (None, "/data/table.h5", "table"),
        ("/a/mnist.toml", "table.h5", "mnist"),
        (None, "x" * 300 + ".h5", "x" * 100),
        (None, "\u6f22" * 80 + ".h5", "\u6f22" * 33),
        (None, "/", "run"),
        (None, "a\nb", "run"),
    ],
)
def test_a_run_is_named_after_its_configuration_or_its_data(config: str | None, data: str, name: str) -> None:
    assert run_name(Path(config) if config else None, data) == name


def test_runs_of_one_second_get_a_directory_each() -> None:
    with ThreadPoolExecutor(20) as pool:
        made = list(pool.map(lambda _: run_directory.create_new(RUNS.absolute(), "digits", NOW), range(20)))
    expected = {"digits-20260304-050607", *(f"digits-20260304-050607-{number}" for number in range(2, 21))}
    assert {path.name for path in made} == expected and all(path.is_absolute() for path in made)


def test_without_a_directory_a_new_one_is_made(here: Path) -> None:
    first, second = opened(Arguments()), opened(Arguments(), "data.path=digits")
    assert first != second and first.parent == here / "runs" and first.name.startswith("digits-")


def test_resume_takes_the_newest_run_of_this_very_name_and_file() -> None:
    for name in ("a-slow-20270101-000000", "a-20260101-000000-x", "ab-20270101-000000", "a-2026", "a-"):
        a_run(name)
    a_run("a-20280101-000000", "elsewhere/a.toml")
    (RUNS / "a-20290101-000000").mkdir()  # without a checkpoint
    for name in ("a-20260101-000000-2", "a-20260101-000000-10", "a-20251231-235959-99"):
        newest = a_run(name)
    assert opened(RESUME) == RUNS.absolute() / "a-20260101-000000-10" != newest


def test_a_name_is_no_pattern() -> None:
    a_run("a-20260101-000000", None)
    for name in ("?.toml", "*.toml", "[a].toml", ".*.toml", "A.toml"):
        with pytest.raises(UserError, match="no run named"):
            opened(Arguments(Path(name), resume=True))
    assert opened(RESUME).name == "a-20260101-000000"  # of 0.1.0, which did not note its file


@pytest.mark.parametrize("name", run_directory.WRITTEN)
def test_what_no_run_has_written_is_not_written_over(here: Path, name: str) -> None:
    (here / "exp").mkdir()
    (here / "exp" / name).write_text("mine")
    (here / "exp" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=f"no run has made it, .* write over {name} there; give another"):
        opened(Arguments(run_dir=Path("exp")))
    assert sorted(os.listdir("exp")) == sorted([name, "notes.txt"])


def test_other_files_of_the_users_do_not_matter(here: Path) -> None:
    (here / "exp").mkdir()
    (here / "exp" / "slurm-restarts").touch()
    assert opened(Arguments(run_dir=Path("exp"))) == here / "exp"
    assert opened(Arguments(run_dir=Path("exp"))) == here / "exp"  # and now it is a run's


def describe(path: Path, config: Config) -> str:
    return run_directory.describe_run(owner(path), config, assign_roles(1), [{"host": "n"}], "MPI", [1])


def test_a_configuration_that_a_user_has_changed_is_kept(here: Path) -> None:
    first, second = load(None, ["train.seed=5"]), load(None, ["train.seed=6"])
    assert describe(here / "run", first) == describe(here / "run", second) == ""
    mine = b"# see notebook p. 12\n" + to_toml(first).encode()
    for kept in ("config-1.toml", "config-2.toml"):
        (here / "run" / "config.toml").write_bytes(mine)
        assert describe(here / "run", second) == kept
        assert (here / "run" / kept).read_bytes() == mine
        assert load(here / "run" / "config.toml") == second


def test_who_has_the_directory_is_told_and_it_is_left_as_it_is(here: Path) -> None:
    held(here / "run")
    before = sorted(here.rglob("*"))
    with pytest.raises(DirectoryOwned, match="belongs to another run: process .* on elsewhere") as caught:
        opened(Arguments(run_dir=Path("run")))
    assert caught.value.status == 86 and sorted(here.rglob("*")) == before


def test_a_job_that_waits_says_so_once_and_takes_over_when_the_lease_is_over(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held(here / "run", lease_s=0.05)
    (here / "run" / "metrics.jsonl").write_text("{}\n")
    before = os.stat(here / "run" / "metrics.jsonl").st_ino
    opening = Opening(Arguments(run_dir=Path("run"), wait=True), load(None, ["output.lease_s=0.02"]), nothing)
    tries: list[Any] = []
    while not tries or tries[-1] is None:
        tries.append(opening.attempt())
        time.sleep(0.002)
    opening.close()
    assert len(tries) > 2 and tries[-1].uncertain
    assert os.stat(here / "run" / "metrics.jsonl").st_ino != before
    assert capsys.readouterr().err.count("dbmpi: waits: run directory") == 1


def test_which_command_goes_on(here: Path) -> None:
    assert go_on(Arguments(run_dir=Path("x")), here / "x") == "the same command goes on"
    words = "the same command with --run-dir runs/a goes on"
    assert go_on(Arguments(), here / "runs" / "a") == words == go_on(RESUME, here / "runs" / "a")
    assert "--run-dir 'runs/a b' goes" in go_on(Arguments(), here / "runs" / "a b")


def test_the_source_of_a_run() -> None:
    assert source(Arguments(), Config()) == "digits"
    assert source(Arguments(Path("x/../a.toml").absolute()), Config()) == "a.toml"
    assert source(Arguments(), load(None, ["data.path=./t.h5"])) == "t.h5"


def tree(path: Path) -> list[str]:
    """All that is there, by name."""
    return sorted(str(one.relative_to(path)) for one in path.rglob("*"))


@pytest.mark.parametrize("when", ["at once", "owner", "described in part"])
@pytest.mark.parametrize("words", [[], ["--run-dir", "new"], ["--run-dir", "a/b c/d"], ["--run-dir", "mine"]])
def test_a_run_that_does_not_begin_leaves_nothing(here: Path, when: str, words: list[str]) -> None:
    (here / "mine").mkdir()
    (here / "mine" / "slurm-restarts").touch()
    before = tree(here)
    opening = Opening(Arguments(run_dir=Path(words[1]) if words else None), load(None), nothing)
    if when != "at once":
        owned = opening.attempt()
        assert owned is not None and tree(here) != before
        if when == "described in part":
            owned.write_text("config.toml", "a = 1")
    opening.close()
    opening.close()
    assert tree(here) == before and opening.attempt() is None


def test_nothing_is_left_where_the_directory_cannot_be_owned(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*ignored: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dbmpi.ownership.record.write_new", full)
    opening = Opening(Arguments(run_dir=Path("a/b")), load(None), nothing)
    with pytest.raises(UserError, match="No space left"):
        opening.attempt()
    opening.close()
    assert tree(here) == []


def test_a_job_that_waits_takes_the_directory_that_another_has_left(here: Path) -> None:
    first = Opening(Arguments(run_dir=Path("run")), load(None), nothing)
    second = Opening(Arguments(run_dir=Path("run"), wait=True), load(None), nothing)
    assert first.attempt() is not None and second.attempt() is None
    first.close()
    owned = second.attempt()
    assert owned is not None and owned.generation == 1
    second.close()


def test_a_directory_that_had_an_owner_keeps_its_generation(here: Path) -> None:
    opened(Arguments(run_dir=Path("run")))
    opening = Opening(Arguments(run_dir=Path("run")), load(None), nothing)
    assert opening.attempt() is not None
    opening.close()
    assert (here / "run" / ".owner" / "000002").is_dir()


@pytest.mark.parametrize("path", ["run", "/nowhere/run"])
def test_a_working_directory_that_is_gone_is_one_line_or_does_not_matter(here: Path, path: str) -> None:
    os.mkdir("gone")
    os.chdir("gone")
    os.rmdir(here / "gone")
    if path == "run":
        with pytest.raises(UserError, match="working directory cannot be found .* where run would begin"):
            opened(Arguments(run_dir=Path(path)))
        with pytest.raises(UserError, match="where runs would begin"):
            opened(Arguments())
    else:
        assert opened(Arguments(run_dir=here / "run")) == here / "run"
    assert source(Arguments(Path("/x/a.toml")), Config()) == "/x/a.toml"
    assert "--run-dir /y goes on" in go_on(Arguments(), Path("/y"))
    os.chdir(here)


@pytest.mark.parametrize("way", ["a file", "a link to nothing"])
def test_what_is_in_the_way_of_a_directory_is_told(here: Path, way: str) -> None:
    (here / "x").touch() if way == "a file" else (here / "x").symlink_to("nothing")
    for path in (Path("x"), Path("x/y/z")):
        with pytest.raises(UserError, match=f"{here}/x is there, and no directory"):
            opened(Arguments(run_dir=path))
    (here / "run").mkdir()
    (here / "run" / "checkpoints").symlink_to("nothing")
    (here / "run" / "run.json").write_text('{"equation": 1, "versions": 1, "ranks": 1}')
    with pytest.raises(UserError, match="checkpoints is there, and no directory"):
        opened(Arguments(run_dir=Path("run")))
