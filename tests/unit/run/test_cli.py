"""The command line."""

import subprocess
import sys
from pathlib import Path

import pytest

from dbmpi import __version__
from dbmpi.comm import ancestry
from dbmpi.config.schema import DEFAULT_FILE
from dbmpi.errors import STATUSES, UserError
from dbmpi.run.start.cli import Arguments, parse


def test_nothing_given() -> None:
    assert parse([]) == Arguments()


def test_everything_given() -> None:
    argv = ["run.toml", "--set", "a.b=1", "c.d=-2", "--set", "e.f=x y", "--run-dir", "out"]
    assert parse([*argv, "--dry-run", "--ranks", "64", "--print-config"]) == Arguments(
        config=Path("run.toml"),
        overrides=("a.b=1", "c.d=-2", "e.f=x y"),
        run_dir=Path("out"),
        dry_run=True,
        ranks=64,
        print_config=True,
    )


def test_a_configuration_after_set_is_no_override() -> None:
    assert parse(["--set", "a.b=1", "run.toml"]) == Arguments(Path("run.toml"), ("a.b=1",))
    assert parse(["--set", "data.path=x.toml"]) == Arguments(None, ("data.path=x.toml",))
    assert parse(["a.toml", "--set", "b.toml"]).overrides == ("b.toml",)  # and settings refuses it


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["--ranks", "8"], "--ranks goes with --dry-run"),
        (["--dry-run", "--ranks", "0"], "'0' is no number of ranks"),
        (["--dry-run", "--ranks", "many"], "'many' is no number of ranks"),
        (["--dry-run", "--ranks", "9" * 5000], "is no number of ranks"),
        (["a.toml", "b.toml"], "b.toml"),
        (["--run"], "--run"),
        (["--set"], "--set"),
        (["--dry-run", "--rank=3"], "--rank=3"),
        (["--run-dir", ""], "--run-dir: the name is empty"),
        (["--run-dir="], "--run-dir: the name is empty"),
        (["--resume", "."], "write --run-dir . --resume"),
        (["a.toml", "--resume", "runs/a"], "write --run-dir runs/a --resume"),
        (["."], "to train there write --run-dir ."),
    ],
)
def test_mistakes_are_user_errors(argv: list[str], part: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(argv)
    assert part in str(caught.value) and "--help" in str(caught.value)


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_has_examples_and_says_where_the_defaults_are(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse([flag], {})
    text = capsys.readouterr().out
    assert caught.value.code == 0
    for part in [
        "python -m dbmpi.train",
        "mpirun -n 8",
        "--set train.epochs=8",
        "--dry-run",
        str(DEFAULT_FILE),
        "docs/configuration.md",
        *STATUSES,
    ]:
        assert part in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--version"], {})
    assert (caught.value.code, capsys.readouterr().out) == (0, f"dbmpi {__version__}\n")


@pytest.mark.parametrize("launcher", [1, None])  # None: the number is left over from another program
def test_help_is_printed_by_one_rank_only(
    launcher: int | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ancestry, "launcher", lambda: launcher)
    with pytest.raises(SystemExit) as caught:
        parse(["--help"], {"OMPI_COMM_WORLD_RANK": "1"})
    assert (caught.value.code, capsys.readouterr().out == "") == (0, launcher is not None)


def test_neither_mpi_nor_numpy_is_imported() -> None:
    script = (
        "import sys; from dbmpi.config import load; from dbmpi.run.start import cli, launch; load.load(None);"
        "print([m for m in ('mpi4py', 'numpy', 'numba', 'h5py') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (run.stdout, run.stderr) == ("[]\n", "")
