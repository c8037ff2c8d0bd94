"""Whatever stands in a configuration or on the command line: one message and status 2, or a sound run.

Each case spoils one of the project's own configurations, adds texts of --set or spoils the command line,
and calls the program with --print-config or --dry-run. It is refused, by one message on one line; or
accepted: then what is printed, read again, is the same configuration. Cases follow from the seed alone.

DBMPI_FUZZ_SEED and DBMPI_FUZZ_CASES make other cases, or more.
"""

import os
import random
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dbmpi import train
from dbmpi.config import load
from dbmpi.config.schema import DEFAULT_FILE
from dbmpi.config.toml import to_toml
from tests import ROOT
from tests.unit.config.test_load_fuzz import LAYERS

SEED = int(os.environ.get("DBMPI_FUZZ_SEED", "2026"))
CASES = int(os.environ.get("DBMPI_FUZZ_CASES", "500"))
SLOWEST_S = 10  # of a case
FILES = [DEFAULT_FILE, *sorted((ROOT / "examples").glob("*.toml"))]
HEADERS = re.compile(r"(?m)^\[+[\w.]+\]+")
LINES = re.compile(r"(?m)^\w+ = .*$")
NUMBERS = (0, -1, 1, 2, 7, 1e-300, 5e-324, 0.1, 1e300, 2**31, 2**53, 2**53 + 1, 2**63, 10**400)
WORDS = ("nan", "inf", "true", "auto", "none", "''", '"x"', "[]", "[[]]", "{}", "[2, 3]", "[2]", "[2, -3]",
         "{a=1}", "[{}]", "[{type='dense'}]", "00:00:01", "1979-05-27", '"\\u0000"', '"\\u2028"', "", "=",
         "'''\n'''", "[" * 2000, '"' + "x" * 5000 + '"', "ünïcödé", "\x1e", "'\udcff'")  # fmt: skip
EXTREMES = (*map(repr, NUMBERS), *WORDS)
ORDINARY = ("1", "2", "3", "0.5", "1.0", "25", "true", "'auto'", "'none'", "'sgd'", "'sandblaster'")
ODD = ("", "-", "--", "\0", "\udcff", "a\nb.toml", "--set", "--ranks", "--dry-run", "x" * 5000, ".",
       "no.toml", "=", "--=", "--run-dir", "[", "--print-config=1", "--ranks=-1", "%s%d", "--help=",
       "/dev/null", "/proc/self/mem")  # fmt: skip


def value(old: str, rng: random.Random) -> str:
    """Return a value, in TOML or not, instead of an old one: two of three times one of the same kind."""
    if rng.random() < 0.33:
        return rng.choice(EXTREMES)
    if old[:1].isdigit():
        whole = "." not in old and "e" not in old
        suited = [one for one in (*NUMBERS, 1, 2, 3, 0.5) if isinstance(one, int) or not whole]
        return repr(rng.choice(suited))
    return old if rng.random() < 0.5 else rng.choice(ORDINARY)


class TooSlow(Exception):
    """A case did not end in time."""


def spoil_bytes(content: str, rng: random.Random) -> bytes:
    """Change, cut, repeat or move bytes."""
    raw = bytearray(content.encode())
    for _ in range(rng.randint(1, 2)):
        start = rng.randrange(len(raw) + 1)
        stop = min(len(raw), start + rng.choice((1, 1, 4, 40)))
        piece = rng.choice((b"", rng.randbytes(3), raw[start:stop] * 2, b"\xef\xbb\xbf", b"\0", b"\r", b'"'))
        raw[start:stop] = piece
    return bytes(raw)


def spoil_lines(content: str, rng: random.Random) -> bytes:
    """Give keys other values, names or sections, and the file other sections; TOML for the most part."""
    for _ in range(rng.randint(1, 2)):
        lines = [match for match in LINES.finditer(content) if "=" in match[0]]
        line = rng.choice(lines)
        key, _, old = line[0].partition(" = ")
        other = rng.choice(lines)[0]
        new = f"{key} = {value(old, rng)}"
        if rng.random() < 0.2:
            new = rng.choice((f"{key}x = {old}", other, "", f"{line[0]}\n{line[0]}"))
        content = content[: line.start()] + new + content[line.end() :]
    if rng.random() < 0.15:
        header = rng.choice(list(HEADERS.finditer(content)))
        names = ("[train]", "[[train]]", "[model.layers]", "[trian]", "[]", "[data.path.x]")
        content = content[: header.start()] + rng.choice(names) + content[header.end() :]
    return content.encode(errors="surrogateescape")


def override(content: str, rng: random.Random) -> str:
    """Return a text of --set."""
    known = every_key(content)
    key = rng.choice([*known] * 4 + ["model.layers.0.units", "model.layers", "a.b"])
    new = value(known.get(key, "8"), rng)
    if rng.random() < 0.15:
        key = rng.choice((key + ".x", key.partition(".")[2], key[:-1], f" {key} ", key.upper(), ""))
    return f"{key}={new}"


def every_key(content: str) -> dict[str, str]:
    """Return the dotted keys of a configuration with their values, those of its layers left out."""
    found, section = {}, ""
    for line in content.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif " = " in line and not line.startswith("#") and section != "model.layers":
            key, _, old = line.partition(" = ")
            found[f"{section}.{key}"] = old
    return found


def make(number: int, directory: Path) -> list[str]:
    """Write the file of case `number`, and return its command line."""
    rng = random.Random(SEED * 1_000_003 + number)
    content = rng.choice(FILES).read_text("utf-8")
    if rng.random() < 0.3:
        content = content.replace("[[model.layers]]", f"{LAYERS.strip()}\n[[model.layers]]", 1)
    how = rng.choice((spoil_bytes, spoil_lines, spoil_lines, None, None))
    path = directory / "run.toml"
    path.write_bytes(how(content, rng) if how else content.encode())
    argv = [str(path), "--print-config" if rng.random() < 0.7 else "--dry-run"]
    if how is None or rng.random() < 0.2:
        argv += ["--set", *(override(content, rng) for _ in range(rng.choice((1, 1, 2))))]
    if "--dry-run" in argv and rng.random() < 0.9:  # of the embedded data, to get to the report
        argv += ["--set", "data.path=digits"]
    if rng.random() < 0.15:
        argv.insert(rng.randrange(len(argv) + 1), rng.choice(ODD))
    return argv


@pytest.fixture
def bounded() -> Iterator[None]:
    """Let a case that takes too long raise."""

    def late(number: int, frame: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, late)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def attempt(argv: list[str]) -> int:
    """Run the program in time; return its status."""
    signal.setitimer(signal.ITIMER_REAL, SLOWEST_S)
    try:
        return train.main(argv)
    except SystemExit as left:
        assert left.code == 0, left
        return 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def judge(argv: list[str], status: int, out: str, err: str) -> str:
    """Assert that a case ended as it may, and return how."""
    if status == 2:
        assert re.fullmatch(r"dbmpi: error: [^\n]{20,}\n", err) and len(err) < 2000 and not out, (out, err)
        return "refused"
    assert status == 0 and err == "" and out, (status, err)
    if out.startswith("[data]"):
        config = load.loads(out.encode())
        assert to_toml(config) == out.rstrip("\n") + "\n", "printed again, it differs"
        return "accepted"
    return "shown"


@pytest.mark.usefixtures("bounded")
def test_every_case_is_refused_or_sound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ends: Counter[str] = Counter()
    faults = []
    for number in range(CASES):
        argv = make(number, tmp_path)
        try:
            ends[judge(argv, attempt(argv), *capsys.readouterr())] += 1
        except (Exception, TooSlow) as error:
            shown = [text[:200] for text in argv]
            faults.append(f"case {number} {shown}: {type(error).__name__}: {str(error)[:500]}")
            capsys.readouterr()
    print(f"seed {SEED}: {CASES} cases, {dict(ends)}, {len(faults)} faults")
    assert not faults, "\n".join([f"{len(faults)} faults", *faults[:20]])
    assert CASES < 400 or (ends["accepted"] > CASES / 20 and ends["shown"] and ends["refused"] > CASES / 2)
