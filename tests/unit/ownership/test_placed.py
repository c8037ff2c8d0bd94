"""Files whose place a user has named."""

import os
import threading
from pathlib import Path

import pytest

from dbmpi.errors import CannotWrite, UserError
from dbmpi.ownership.placed import check, placed


def test_a_link_stays_and_leads_to_the_new_file(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("before")
    (tmp_path / "link").symlink_to("there")
    with placed(tmp_path / "link") as path:
        path.write_text("after")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "there").read_text() == "after"
    assert sorted(os.listdir(tmp_path)) == ["link", "there"]


def test_a_link_to_a_pipe_is_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_text()))
    reader.start()
    with placed(tmp_path / "link") as path:
        path.write_text("after")
    reader.join(10)
    assert found == ["after"] and (tmp_path / "link").is_symlink()


def test_two_at_once_are_both_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with placed(out) as first, placed(out) as second:
        first.write_text("first")
        second.write_text("second")
    assert out.read_text() == "first" and os.listdir(tmp_path) == ["out"]


def test_nothing_is_left_of_what_fails(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match="No space left on device; .*--csv"):
        with placed(tmp_path / "out", "--csv") as path:
            path.write_text("half")
            raise OSError(28, "No space left on device")
    assert not os.listdir(tmp_path)


def test_only_what_is_of_the_kind_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "page").write_text("<page>")
    check(tmp_path / "page", (b"<", b"!!!"), "page")
    check(tmp_path / "new", (b"<",), "page")
    with pytest.raises(UserError, match="no other"):
        check(tmp_path / "page", (b"!",), "other")
