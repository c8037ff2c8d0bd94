"""`python -m dbmpi.prepare` among wrong inputs and in odd places: one message, status 2, nothing left."""

import gzip
import multiprocessing
import os
import pickle
import re
import shlex
import signal
import struct
import subprocess
import sys
import time
import zipfile

import h5py
import numpy as np
import pytest

from dbmpi.errors import UserError
from dbmpi.prepare import pool
from dbmpi.prepare.command import main
from dbmpi.prepare.labels import in_order
from dbmpi.prepare.unfinished import whole

RNG = np.random.default_rng(1)
X, Y = RNG.normal(size=(60, 4)), np.arange(60) % 3
ROWS = "".join(f"{number * 0.5},{number % 7},{'xy'[number % 2]}\n" for number in range(60))
TABLE = "a,b,k\n" + ROWS


@pytest.fixture
def refused(tmp_path, capsys):
    """Return what runs a command that is to be refused, and returns its message."""

    def run(kind, *arguments):
        before = sorted(os.listdir(tmp_path))
        assert main([kind, *map(str, arguments), str(tmp_path / "out.h5")]) == 2
        said = capsys.readouterr().err
        assert said.startswith("dbmpi: error: ") and said.count("\n") == 1, said
        assert sorted(os.listdir(tmp_path)) == before
        return said

    return run


class Code:
    def __reduce__(self):
        return os._exit, (66,)


def npz(**arrays):
    def write(path):
        np.savez(path, **arrays)

    return write


def header_of(shape, values=b"", descr="'<f8'"):
    def write(path):
        header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".encode()
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + values)
            with archive.open("y.npy", "w") as file:
                np.save(file, Y)

    return write


ARRAYS = [
    (npz(x=X, y=np.array([Code()] * 60)), [], "y holds objects of Python"),
    (header_of("(1000000000000, 4)"), [], r"x: .*32000000000000 bytes, but holds 0"),
    (header_of("(60, 10000000000)", b"0" * 8), [], "x: .*but holds 8"),
    (header_of("(-60, 4)"), [], "x: .*-1920 bytes"),
    (header_of("(60, 4", b"0"), [], "x: cannot be read"),
    (npz(x=X[:, :0], y=Y), [], r"x has shape \(60, 0\)"),
    (npz(x=X.reshape(60, 2, 2, 1, 1), y=Y), [], r"x has shape \(60, 2, 2, 1, 1\)"),
    (npz(x=X, y=np.int64(1)), [], "y has 0 rows"),
    (npz(x=X, y=Y * 1j), [], "y has type complex128"),
    (npz(x=X, y=np.where(Y == 1, np.inf, 0)), ["--task", "classes"], "y: row 1: inf is no whole number"),
    (npz(x=X, y=np.array(["a", "", "b"])[Y]), [], 'y: row 1: "" is an empty text'),
    (npz(x=X, y=np.array(["a\0b", "c", "d"])[Y]), [], "has control characters"),
    (npz(x=X, y=np.array([b"a", b"\xff", b"c"])[Y]), [], "no UTF-8"),
    (npz(x=np.where(X == X[7, 2], np.nan, X), y=Y), [], "x: row 7, column 2: nan is not finite"),
    (
        npz(x=np.where(X == X[7, 2], 1e19, X), y=Y),
        [],
        "x: row 7, column 2: 1e.19 is not finite, or beyond",
    ),
    (npz(x_train=X, y_train=Y, x_test=X[:, :1], y_test=Y), [], "x_test: an example has shape"),
    (npz(x_train=(X > 0).astype("u1"), y_train=Y, x_test=X, y_test=Y), [], "x_test: an example has shape"),
    (npz(x_train=X, y_train=Y, x_test=X, y_test=Y + 1), [], 'rows for test have the class "3"'),
    (npz(x=X, y=Y, g=Y[:5]), ["--groups", "g"], r"g has shape \(5,\)"),
    (npz(x=X, y=np.eye(3)[Y], g=Y[:5]), ["--channels-first"], "leave it out"),
    (lambda path: path.mkdir(), [], "is a directory"),
    (os.mkfifo, [], "is a pipe"),
    (lambda path: path.symlink_to("/dev/zero"), [], "is a device"),
    (lambda path: path.symlink_to(path), [], "symbolic links"),
    (lambda path: path.write_bytes(pickle.dumps(Code())), [], "not a zip file"),
]


@pytest.mark.parametrize("write, options, said", ARRAYS, ids=[said for *_, said in ARRAYS])
def test_arrays(refused, tmp_path, write, options, said):
    write(tmp_path / "in.npz")
    assert re.search(said, refused("npz", tmp_path / "in.npz", *options))


def test_what_is_not_asked_for_does_not_matter(tmp_path):
    np.savez(tmp_path / "in.npz", x=X, y=Y, other=np.array([Code()]))
    with zipfile.ZipFile(tmp_path / "in.npz", "a") as archive:
        archive.writestr("readme.txt", "hello")
    assert main(["npz", str(tmp_path / "in.npz"), str(tmp_path / "out.h5")]) == 0


def virtual(file):
    layout = h5py.VirtualLayout((60, 4), "f8")
    layout[:] = h5py.VirtualSource("nowhere.h5", "x", (60, 4))
    file.create_virtual_dataset("x", layout)


SETS = [
    (lambda file: file.create_dataset("x", (10**12, 4), "f4", chunks=(1024, 4)), "chunks 0 were written"),
    (virtual, "takes rows from nowhere.h5, which is missing"),
    (lambda file: file.__setitem__("x", h5py.ExternalLink("nowhere.h5", "/x")), "a link into nowhere.h5"),
    (lambda file: file.__setitem__("x", h5py.SoftLink("/x")), "links lead in a circle"),
    (lambda file: file.create_dataset("x", (60, 4), h5py.vlen_dtype("i4")), "x holds neither numbers nor"),
    (lambda file: file.create_dataset("x", (60,), h5py.ref_dtype), "x holds neither numbers nor texts"),
    (lambda file: file.create_dataset("x", data=np.zeros((60, 4), [("a", "i4")])), "not numbers"),
]


@pytest.mark.parametrize("write, said", SETS, ids=[said for _, said in SETS])
def test_data_sets(refused, tmp_path, write, said):
    with h5py.File(tmp_path / "in.h5", "w") as file:
        write(file)
        file["y"] = Y
    assert said in refused("hdf5", tmp_path / "in.h5", "--inputs", "x", "--targets", "y")


def test_links_lead_to_data_sets(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["a"] = X
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file["x"], file["b/y"], file["y"] = h5py.ExternalLink("other.h5", "/a"), Y, h5py.SoftLink("/b/y")
    assert main(["hdf5", str(tmp_path / "in.h5"), str(tmp_path / "out.h5"), "--keep-order"]) == 0
    with h5py.File(tmp_path / "out.h5") as file:
        assert np.array_equal(file["train/x"][0], X[0].astype(np.float32))


TABLES = [
    ("\n" + TABLE, [], "line 1 is empty"),
    (TABLE.replace("\n", "\r"), [], "CR alone"),
    (TABLE + "1,2,x\0\n", [], "line 62: holds a NUL"),
    (TABLE + "1," + "2" * 200_000 + ",x\n", [], "beyond|field limit"),
    ("a," * 100_000 + "k\n", [], "several columns"),
    ('a,"b,k\n' + ROWS, [], "line 1: unexpected end"),
    (TABLE + "1,2,x,9\n", ["--drop", "k", "--target", "b"], "line 62: has 4 cells"),
    (TABLE + "1,-,x\n", [], 'line 62: "b" is "-", where others are numbers'),
    ("a,k\n" + "".join(f"{n},{2**53 + n % 3}\n" for n in range(60)), [], r'"k" is 900\d+, where others'),
    (TABLE, ["--drop", "k"], 'the column "k" is given as two'),
    (TABLE, ["--groups", "b", "--drop", "b"], 'the column "b" is given as two'),
    ("a,s,k\n" + "1,train,x\n2,test,y\n3,tst,x\n" * 9, ["--split", "s"], 'line 4: "s" is "tst"; it must be'),
    ("a,s,k\n" + "1,train,x\n2,test,y\n" * 9, ["--split", "s"], 'rows for test have the class "y"'),
    ("a,b,k\n" + ",2,x\n,3,y\n" * 20, ["--missing", "mean"], 'column "a" has no number'),
    (TABLE + "1,2,\n", ["--missing", "mean"], "or add --missing drop"),
    (TABLE, ["--test-fraction", "0.5", "--validation-fraction", "0.5"], "leave no row to train with"),
    ("a,k\n1,x\n", [], "in.csv: the split test would have no rows of 1"),
    ("a,k\n" + "1e-20,x\n2e-20,y\n" * 9, ["--scaling", "columns"], "too small"),
    (gzip.compress(TABLE.encode() * 9)[:100] + b"\xff" * 50, [], "cannot be read"),
]


@pytest.mark.parametrize("content, options, said", TABLES, ids=range(len(TABLES)))
def test_tables(refused, tmp_path, content, options, said):
    path = tmp_path / ("in.csv.gz" if isinstance(content, bytes) else "in.csv")
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    target = [] if "--target" in options else ["--target", "k"]
    assert re.search(said, refused("table", path, *target, *options, "--jobs", "1"))


def test_a_name_with_a_line_end_stays_on_one_line(refused, tmp_path):
    (tmp_path / "in\n.csv").write_text("a,k\n")
    assert "in\\n.csv: has no row" in refused("table", tmp_path / "in\n.csv", "--target", "k")


@pytest.mark.parametrize("option", ["--seed=-1", "--seed=1" + "0" * 30, "--jobs=0", "--test-fraction=nan"])
def test_options(tmp_path, option):
    with pytest.raises(SystemExit) as left:
        main(["table", "in.csv", str(tmp_path / "out.h5"), "--target", "k", option])
    assert left.value.code == 2


@pytest.mark.parametrize("kind", ["pipe", "input", "link to a device"])
def test_what_has_the_name_is_not_replaced(refused, tmp_path, kind):
    np.savez(tmp_path / "in.npz", x=X, y=Y)
    out = tmp_path / "out.h5"
    if kind == "pipe":
        os.mkfifo(out)
    else:
        out.symlink_to("in.npz" if kind == "input" else "/dev/null")
    assert "give" in refused("npz", tmp_path / "in.npz", "--replace")


def test_what_a_killed_command_left_is_removed_and_what_another_writes_is_not(tmp_path):
    out = tmp_path / "out.h5"
    (tmp_path / ".out.h5.0123.tmp").write_bytes(b"left")
    with whole(out, False, []) as other:
        other.write_bytes(b"other")
        with pytest.raises(ZeroDivisionError), whole(out, False, []):
            assert len(os.listdir(tmp_path)) == 2 and other.exists()
            raise ZeroDivisionError
    assert os.listdir(tmp_path) == ["out.h5"] and out.read_bytes() == b"other"
    with pytest.raises(UserError, match="is there already"), whole(out, False, []):
        pass


def test_classes_have_one_order_whatever_order_they_come_in():
    for names in (["nan", "10", "9"], ["1", "1.0", "01"], ["b", "a"]):
        assert in_order(names) == in_order(reversed(names))
    assert in_order({"10", "9"}) == ("9", "10")


def fail_or_die(task):
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def test_a_process_that_dies_is_told_of():
    with pytest.raises(UserError, match="was killed"):
        assert list(pool.mapped(fail_or_die, [*range(20), "die"], 2)) == []
    assert not multiprocessing.active_children()


def test_without_processes_this_one_works_alone(monkeypatch, capsys):
    def fail(self):
        raise OSError("no more processes")

    monkeypatch.setattr(pool._Crew, "_start", fail)
    assert list(pool.mapped(fail_or_die, range(20), 2)) == [*range(20)]
    assert "one process reads" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_signals_leave_nothing(tmp_path, number):
    (tmp_path / "in.csv").write_text("a,b,k\n" + ROWS * 20_000)
    command = [sys.executable, *shlex.split("-m dbmpi.prepare table in.csv out.h5 --target k --jobs 2")]
    run = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while len(os.listdir(tmp_path)) == 1:
        time.sleep(0.01)
    time.sleep(0.2)
    run.send_signal(number)
    said = run.communicate(timeout=60)[1]
    if number != signal.SIGKILL:
        assert run.returncode == 130 and "is not written" in said and said.count("\n") == 1
        assert os.listdir(tmp_path) == ["in.csv"]
    while True:  # the others of its session end with it
        try:
            os.killpg(run.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.01)
