"""What a checkpoint would need of the coordinator, for where ranks may die (`comm.ulfm`). Pure.

The coordinator sends it to the first two living shards: under Downpour every `checkpoint.mirror_s` seconds,
and between these a note of each portion that is handed out, before it is, or done; under Sandblaster at every
iterate that is mirrored. When the coordinator dies, the shards make a checkpoint of it (`server.emergency`).
"""

import json
from dataclasses import dataclass, replace

import numpy as np

from dbmpi.checkpoint.run_state import RunState
from dbmpi.comm.assignments import note_of
from dbmpi.comm.protocol import NOTE


@dataclass(frozen=True)
class CoordinatorState:
    """What is known of the coordinator.

    Parameters
    ----------
    state
        As in `manifest.Manifest`.
    vectors
        The batch method's vectors to save; None with Downpour.
    mirror
        The mirror whose parameters are to be saved; 0 for those of the moment.
    """

    state: RunState
    vectors: list[int] | None = None
    mirror: int = 0

    @property
    def examples(self) -> int:
        """How many had been learned from."""
        return self.state.examples

    def to_bytes(self) -> bytes:
        """Return it as a message."""
        return json.dumps(vars(self) | {"state": self.state.to_json()}).encode()


def read(message: bytes, notes: bytes = b"") -> CoordinatorState:
    """Return what a message of `to_bytes` says, with `NOTE` records of what came since."""
    content = json.loads(message)
    state = RunState.from_json(content["state"])
    if state.downpour is not None:
        since = tuple(map(note_of, np.frombuffer(notes, NOTE)))
        state = replace(state, downpour=replace(state.downpour, notes=since))
    return CoordinatorState(**content | {"state": state})
