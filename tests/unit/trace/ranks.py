"""Files as ranks leave them, for tests of what reads them."""

from pathlib import Path
from typing import Any

from dbmpi.comm.protocol import Command, Op, Work
from dbmpi.comm.wait import CAUSES
from dbmpi.spans import Recorder, kinds, names


def header(**said: Any) -> dict[str, Any]:
    """Return what a rank's file says of itself, with changes."""
    known = {
        "rank": 0, "ranks": 1, "role": "replica 0 partition 0", "role_kind": "replica", "host": "here",
        "node": 0, "generation": 1, "mib": 1, "offsets": [[0.0, 0.0, 0.0]], "clock": [0.0, 0.0],
        "kinds": kinds(), "causes": dict(enumerate(CAUSES)), "works": names(Work),
        "ops": {int(op): op.name.lower() for op in Op}, "commands": names(Command),
    }  # fmt: skip
    return known | said


def leave(run: Path, spans: Recorder, **said: Any) -> Path:
    """Write a rank's file into a run directory, and return where it is."""
    content = header(**said)
    path = run / "trace" / f"{content['generation']:06d}" / f"rank-{content['rank']:05d}.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(bytes(part) for part in spans.parts(content)))
    return path
