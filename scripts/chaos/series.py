"""A series of tries: a file of lines, one try each, to which sittings add, and which can be put together."""

import platform
import random
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from itertools import groupby
from pathlib import Path
from statistics import median

from scripts.chaos import lines
from scripts.chaos.attempt import Attempt
from scripts.chaos.jobs import Mode, Workshop
from scripts.chaos.kinds import KINDS
from scripts.chaos.lines import Line
from scripts.chaos.plan import Calm, Plan
from scripts.chaos.tried import Tried, figures, verdict

RECENT = 3
BLOCK = 50  # tries: of each, those that may be are made side by side, and the others after them


def chosen(names: Sequence[str], seed: int, number: int) -> str:
    """Return the kind of a try: a heavier one more often, in an order that the seed gives."""
    bag = [name for name in names for _ in range(KINDS[name].weight)]
    turn, place = divmod(number, len(bag))
    random.Random(f"{seed} turn {turn}").shuffle(bag)
    return bag[place]


@dataclass
class Series:
    """Makes tries, and appends their lines to a file.

    Parameters
    ----------
    shop
        Makes the jobs.
    out
        The file; None: the lines are only returned.
    seed
        Of all tries: one is drawn from the seed and its number alone.
    modes
        How runs are made.
    keep
        Whether the folders of the tries stay.
    jobs
        How many tries are made at a time, of kinds that need not have the machine for themselves.
    """

    shop: Workshop
    out: Path | None
    seed: int
    modes: list[Mode]
    keep: bool = False
    jobs: int = 1
    _lines: list[Line] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self._commit = lines.commit()
        self._lines = lines.read([self.out]) if self.out is not None else []

    def made(self, names: Sequence[str], number: int) -> bool:
        """Return whether a try was made in an earlier sitting."""
        same = {"seed": self.seed, "try": number, "kinds": " ".join(names), "commit": self._commit}
        return any(all(line.get(key) == value for key, value in same.items()) for line in self._lines)

    @property
    def lines(self) -> list[Line]:
        """All tries, those of earlier sittings too."""
        return self._lines

    def tries(
        self, names: Sequence[str], count: int, until: float, only: Sequence[int] | None = None
    ) -> Iterator[Line]:
        """Make the tries below `count` that were not made yet, up to a moment of `time.monotonic`.

        `only` some, if they are named: those are made again.
        """
        wanted = only or [number for number in range(count) if not self.made(names, number)]
        for _, block in groupby(wanted, lambda number: number // BLOCK):
            some = [(chosen(names, self.seed, number), number) for number in block]
            together = [one for one in some if self.jobs > 1 and not KINDS[one[0]].alone]
            make = partial(self._in_time, " ".join(names), until)
            with ThreadPoolExecutor(self.jobs) as pool:
                yield from filter(None, pool.map(make, together))
            yield from filter(None, map(make, (one for one in some if one not in together)))

    def _in_time(self, names: str, until: float, one: tuple[str, int]) -> Line | None:
        return self._one(*one, names) if time.monotonic() < until else None

    def _one(self, name: str, number: int, names: str) -> Line:
        began, draw = time.time(), random.Random(f"{self.seed} {number} {name}")
        missing, tried = KINDS[name].missing(), Tried()
        try:
            tried = tried if missing else self._make(name, number, draw)
        except SystemExit as error:  # what must be as it should for a try to be of use is not
            missing = str(error)
        if missing:
            tried = Tried(notes=[f"not possible here: {missing}"])
        if not self.keep:
            shutil.rmtree(self._place(name, number), ignore_errors=True)
        return self._add(name, number, names, began, tried, skipped=bool(missing))

    def _make(self, name: str, number: int, draw: random.Random) -> Tried:
        kind = KINDS[name]
        if kind.own:
            module, _, function = kind.own.partition(":")
            made: Tried = getattr(import_module(module), function)(draw, self._folder(name, number))
            return made
        plan = Plan.drawn(kind, draw, self.modes)
        with self._lock:  # one at a time finds out about undisturbed runs
            calm = self._calm(plan.mode, name)
        run_dir = self._folder(name, number) / "run"
        return Attempt(self.shop, name, kind, plan, run_dir, draw, calm).make()

    def _folder(self, name: str, number: int) -> Path:
        """Make the folder of a try."""
        shutil.rmtree(self._place(name, number), ignore_errors=True)
        self._place(name, number).mkdir()
        return self._place(name, number)

    def _place(self, name: str, number: int) -> Path:
        return self.shop.folder / f"{name}-{number}"

    def _calm(self, mode: Mode, name: str) -> Calm:
        """Return what is known of undisturbed runs; make one first where nothing is."""
        if name == "none":
            return Calm(0.0, self._losses(mode))
        same = {
            "kind": "none",
            "mode": str(mode),
            "host": platform.node(),
            "commit": self._commit,
            "wrong": [],
        }
        known = [one for one in self._lines if same.items() <= one.items()]
        if not known:
            self._calm_run(mode)
            return self._calm(mode, name)
        recent = known[-RECENT:]  # the machine may have been busier then
        return Calm(median(one["began_s"] for one in recent), self._losses(mode))

    def _losses(self, mode: Mode) -> list[float]:
        same = {"algorithm": mode.algorithm, "commit": self._commit}
        found = (one["losses"] for one in self._lines if "losses" in one and same.items() <= one.items())
        return next(found, [])

    def _calm_run(self, mode: Mode) -> None:
        number = -1 - sum(one["try"] < 0 for one in self._lines)
        draw = random.Random(f"{self.seed} {number} none")
        plan = Plan.drawn(KINDS["none"], draw, [mode])
        began, run_dir = time.time(), self._folder("none", number) / "run"
        calm = Calm(0.0, self._losses(mode))
        tried = Attempt(self.shop, "none", KINDS["none"], plan, run_dir, draw, calm).make()
        line = self._add("none", number, "none", began, tried)
        if line["wrong"]:
            raise SystemExit(f"a run that nothing disturbs is not as it should be: {line}")

    def _add(
        self, name: str, number: int, names: str, began: float, tried: Tried, skipped: bool = False
    ) -> Line:
        """Append the line of a try."""
        said = figures(tried)
        line = {
            "time": round(began, 1),
            "host": platform.node(),
            "commit": self._commit,
            "seed": self.seed,
            "try": number,
            "kinds": names,
            "kind": name,
            "mode": f"{tried.algorithm} {tried.launcher}".strip(),
            "seconds": round(time.time() - began, 1),
            "first_s": tried.first_s,
            "verdict": "not possible here" if skipped else verdict(tried.wrong),
            "wrong": tried.wrong,
            **said,
        }
        with self._lock:
            self._lines.append(line)
            if self.out is not None:
                lines.add(self.out, line)
        return line
