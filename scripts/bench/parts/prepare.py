"""`python -m dbmpi.prepare` beside NumPy's reader and Pillow alone, and its peak memory, whole processes.

Tables have 21 columns, one of classes; mixed ones have two more, of texts: 2.4 million rows, so that the
start of Python is a small part. The images are 9,000 JPEG of 500 x 500, made to be 64 x 64, beside a loop
that only decodes and resizes. Memory is the peak of 600,000 rows less that of 60,000.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from scripts.bench.core import Aim, Group, Options, Row, require
from scripts.launcher import ROOT

ROWS, MANY, FEW, COLUMNS = 2_400_000, 600_000, 60_000, 20
IMAGES, LINKS, SIDE = 300, 30, 500  # files, names of each, pixels
LIMIT_S = 300
TABLE_AIMS = {"numbers": 0.8, "mixed": 0.25}
MOST_MORE_MB = 20
LOADTXT = """
import itertools, sys, numpy as np
with open(sys.argv[1]) as file:
    next(file)
    while lines := [*itertools.islice(file, 4096)]:
        np.loadtxt(lines, delimiter=",")
"""
PILLOW = """
import sys
from pathlib import Path
import numpy as np
from PIL import Image
for path in Path(sys.argv[1]).rglob("*.jpg"):
    with Image.open(path) as image:
        image.draft("RGB", (64, 64))
        np.asarray(image.convert("RGB").resize((64, 64), Image.Resampling.BILINEAR))
"""


def groups(options: Options) -> Iterator[Group]:
    """Yield tables, images, and memory."""
    for kind, aim in TABLE_AIMS.items():
        turns = {
            "prepare": partial(rate, options, partial(table, kind), "table", "--target", "y"),
            "loadtxt": partial(rate_of, options, partial(table, "numbers"), LOADTXT),
        }
        yield Group(
            f"table {kind}", turns, [Row(f"table, {kind}", "prepare", "MB/s", ("loadtxt",), Aim(aim))]
        )
    turns = {
        f"{n} jobs": partial(rate, options, photos, "images", "--size", "64x64", "--jobs", str(n))
        for n in (1, 2)
    }
    turns["Pillow"] = partial(rate_of, options, photos, PILLOW)
    aims = {"1 jobs": Aim(0.8), "2 jobs": Aim(1.6)}
    yield Group(
        "images", turns, [Row(f"images, {n}", n, "MB/s", ("Pillow",), aim) for n, aim in aims.items()]
    )
    for kind in TABLE_AIMS:
        row = Row(f"table, {kind}, 600,000 rows", "more", "MB more", aim=Aim(at_most=MOST_MORE_MB))
        yield Group(f"memory {kind}", {"more": partial(more, options, kind)}, [row])


def rate(options: Options, make: Callable[[Path], Path], kind: str, *words: str) -> float:
    """Return the MB/s of a preparation."""
    source = make(options.folder)
    out = options.folder / "out.h5"
    command = [sys.executable, "-m", "dbmpi.prepare", kind, str(source), str(out), "--replace", *words]
    return size(source) / 1e6 / seconds(command)


def rate_of(options: Options, make: Callable[[Path], Path], program: str) -> float:
    """Return the MB/s of a program that reads the same kind of files."""
    require("PIL", "pillow")
    source = make(options.folder)
    return size(source) / 1e6 / seconds([sys.executable, "-c", program, str(source)])


def seconds(command: list[str]) -> float:
    """Run a program; return how long it took."""
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, timeout=LIMIT_S, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def more(options: Options, kind: str) -> float:
    """Return how much more memory many rows take than few, in MB."""
    return peak(table(kind, options.folder, MANY)) - peak(table(kind, options.folder, FEW))


def peak(source: Path) -> float:
    """Prepare a table in one process; return its peak memory in MB.

    It is started by `python -c`, as a process that begins as a copy of a large one has the peak of that.
    """
    command = [sys.executable, "-m", "dbmpi.prepare", "table", str(source), f"{source}.h5", "--replace",
               "--target", "y", "--jobs", "1"]  # fmt: skip
    watch = f"import resource, subprocess; subprocess.run({command!r}, check=True, stdout=-3); "
    watch += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    said = subprocess.run(
        [sys.executable, "-S", "-c", watch], cwd=ROOT, check=True, timeout=LIMIT_S, stdout=-1
    )
    return int(said.stdout) / 1024


def size(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())


def table(kind: str, folder: Path, rows: int = ROWS) -> Path:
    """Write a table of numbers, or of numbers and texts, unless it is there; return the file."""
    path = folder / f"{kind}-{rows}.csv"
    if path.exists():
        return path
    rng = np.random.default_rng(1)
    numbers = np.char.mod("%.5f", rng.normal(size=(FEW, COLUMNS))).tolist()
    classes = rng.integers(0, 2, FEW).tolist()
    texts = rng.integers(0, 40, (FEW, 2)).tolist()
    names = [*(f"c{number}" for number in range(COLUMNS)), *(("a", "b") if kind == "mixed" else ()), "y"]
    lines = []
    for row, (a, b), y in zip(numbers, texts, classes, strict=True):
        lines.append(",".join([*row, *((f"kind {a}", f"group {b}") if kind == "mixed" else ()), str(y)]))
    with path.open("w") as file:
        file.write(",".join(names) + "\n")
        for _ in range(rows // FEW):
            file.write("\n".join(lines) + "\n")
    return path


def photos(folder: Path) -> Path:
    """Write JPEG images of two classes, unless they are there; return their folder."""
    require("PIL", "pillow")
    from PIL import Image

    top = folder / "photos"
    rng = np.random.default_rng(1)
    for number in range(0 if top.exists() else IMAGES):
        path = top / ("even", "odd")[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8))
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path, quality=90)
        for link in range(1, LINKS):
            path.with_name(f"{number}-{link}.jpg").hardlink_to(path)
    return top
