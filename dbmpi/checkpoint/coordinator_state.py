"""The coordinator's will: what a checkpoint would need of it, where ranks may die (`ulfm`). Pure.

It lets the first shard that lives know every so often: under Downpour every `checkpoint.mirror_s` seconds, as
if the portions that are outstanding had been given back; under Sandblaster at every iterate that is mirrored.
When it dies the shards make a checkpoint of that (`emergency`).
"""

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class CoordinatorState:
    """What is known of the coordinator.

    Parameters
    ----------
    algorithm, state
        As in `manifest.Manifest`.
    vectors
        The batch method's vectors to save; None with Downpour.
    mirror
        The mirror whose parameters are to be saved; 0 for those of the moment.
    """

    algorithm: str
    state: dict[str, Any]
    vectors: list[int] | None = None
    mirror: int = 0

    @property
    def examples(self) -> int:
        """How many had been learned from."""
        return int(self.state["book"]["examples"])

    def text(self) -> bytes:
        """Return it as a message."""
        return json.dumps(asdict(self)).encode()


def read(text: bytes) -> CoordinatorState:
    """Return the will that a message is."""
    return CoordinatorState(**json.loads(text))
