"""What a checkpoint would need of the coordinator, for where ranks may die (`comm.ulfm`). Pure.

The coordinator sends it to the first living shard: under Downpour every `checkpoint.mirror_s` seconds, as if
the outstanding portions had been given back; under Sandblaster at every iterate that is mirrored. When the
coordinator dies, the shards make a checkpoint of it (`server.emergency`).
"""

import json
from dataclasses import dataclass

from dbmpi.checkpoint.run_state import RunState


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
        return self.state.log.examples

    def to_bytes(self) -> bytes:
        """Return it as a message."""
        return json.dumps(vars(self) | {"state": self.state.to_json()}).encode()


def read(message: bytes) -> CoordinatorState:
    """Return what a message of `to_bytes` says."""
    content = json.loads(message)
    return CoordinatorState(**content | {"state": RunState.from_json(content["state"])})
