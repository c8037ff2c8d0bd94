"""The calls of a run, as a trace lists them, and the faults that are tried on them."""

import errno
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# What can go wrong with each kind of call: an error, or that only half of the bytes are moved.
ERRORS = {
    "open": ("EIO", "ESTALE"),
    "opendir": ("EIO", "ESTALE"),
    "create": ("ENOSPC", "EIO"),
    "read": ("EIO", "short", "ESTALE"),
    "write": ("ENOSPC", "short", "EIO"),
    "fsync": ("EIO", "ENOSPC"),
    "close": ("EIO", "ENOSPC"),
    "rename": ("EIO", "ENOSPC"),
    "link": ("EIO",),
    "unlink": ("EIO", "ESTALE"),
    "rmdir": ("EIO",),
    "mkdir": ("ENOSPC", "EIO"),
    "truncate": ("EIO",),
    "stat": ("ESTALE", "EIO"),
    "access": ("EIO",),
    "list": ("EIO", "ESTALE"),
    "touch": ("EIO",),
    "lock": ("EIO",),
}
# What may be so from then on: a disk that is full stays full, a place that cannot be read does too.
LASTING = {"create": "full", "write": "full", "mkdir": "full", "open": "stays", "read": "stays"}
CHECKPOINT = re.compile(r"run/\.owner/\d+/(\d+)\.part")
DRAWN = re.compile(r"run/\.owner/\..*")  # names that another run has not


@dataclass(frozen=True)
class Call:
    """One call of a run: what it does and to what, and which of those it is in its process."""

    rank: int
    kind: str
    path: str
    occurrence: int

    @property
    def family(self) -> tuple[int, str, str]:
        """What it has in common with calls that do the same to another checkpoint."""
        return self.rank, self.kind, re.sub(r"\d{4,}", "#", self.path)


@dataclass(frozen=True)
class Fault:
    """A call, and what becomes of it."""

    call: Call
    error: str  # a name of `errno`, "short", "full" or "stays"
    first: bool = True  # whether the call is the first of its family

    def __str__(self) -> str:
        call = self.call
        return f"{call.rank} {call.kind} {call.path} {call.occurrence} {self.error}"

    @property
    def told(self) -> str:
        """The fault, as preload.c reads it."""
        call, mode = self.call, self.error if self.error in ("short", "full", "stays") else "once"
        named = {"full": errno.ENOSPC, "stays": errno.EIO, "short": 0}
        number = named[mode] if mode in named else getattr(errno, self.error)
        return "\t".join(map(str, (call.rank, call.kind, call.path, call.occurrence, mode, number)))


def read_trace(path: Path) -> list[Call]:
    """Return the calls of a run, in the order in which they were made, on names that every run has."""
    lines = (line.split("\t") for line in path.read_text().splitlines())
    calls = (Call(int(rank), kind, name, int(count)) for rank, kind, name, count, _ in lines)
    return [call for call in calls if not DRAWN.fullmatch(call.path)]


def checkpoint_of(path: str) -> int | None:
    """Return the number of the checkpoint under construction that a path belongs to; None for others."""
    found = CHECKPOINT.match(path)
    return int(found[1]) if found else None


def last_checkpoint(calls: Iterable[Call]) -> int:
    """Return the number of the last checkpoint that a run has begun; 0 for none."""
    return max((checkpoint_of(call.path) or 0 for call in calls), default=0)


def families(calls: Iterable[Call]) -> list[tuple[Call, object]]:
    """Return each call with what it has in common with others; the last checkpoint is another matter."""
    last = last_checkpoint(calls := list(calls))
    return [(call, (call.family, checkpoint_of(call.path) == last)) for call in calls]


def faults_of(calls: Iterable[Call], known: Iterable[Call] = ()) -> Iterator[Fault]:
    """Yield what is tried: every fitting fault on the first call of a family, and one in turn on the others.

    Of families that are among the calls that are `known`, the first call alone is tried, with one fault.
    """
    elsewhere = {family for _, family in families(known)}
    seen: set[object] = set()
    for call, family in families(calls):
        errors, first = ERRORS[call.kind], family not in seen
        seen.add(family)
        if family in elsewhere and not first:
            continue
        if family in elsewhere or not first:
            errors = (errors[call.occurrence % len(errors)],)
        elif call.kind in LASTING:
            errors += (LASTING[call.kind],)
        yield from (Fault(call, error, first) for error in errors)
