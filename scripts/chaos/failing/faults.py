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
CHECKPOINT = re.compile(r"run/checkpoints/\.(\d+)\.part")


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
    """Return the calls of a run, in the order in which they were made."""
    lines = (line.split("\t") for line in path.read_text().splitlines())
    return [Call(int(rank), kind, name, int(count)) for rank, kind, name, count, _ in lines]


def last_checkpoint(calls: Iterable[Call]) -> int:
    """Return the number of the last checkpoint that a run has begun; 0 for none."""
    found = (CHECKPOINT.match(call.path) for call in calls)
    return max((int(match[1]) for match in found if match), default=0)


def faults_of(calls: Iterable[Call]) -> Iterator[Fault]:
    """Yield what is tried: every fitting fault on the first call of a family, and one in turn on the others."""
    known: set[object] = set()
    last = last_checkpoint(calls := list(calls))
    for call in calls:
        errors = ERRORS[call.kind]
        match = CHECKPOINT.match(call.path)
        family = (call.family, bool(match) and int(match[1]) == last)  # the last checkpoint is another matter
        if family in known:
            errors = (errors[call.occurrence % len(errors)],)
        elif call.kind in LASTING:
            errors += (LASTING[call.kind],)
        known.add(family)
        yield from (Fault(call, error) for error in errors)
