"""The shapes that a run has from job to job, drawn at random."""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Shape:
    """What may differ from job to job: the shape, the order, the limits, and how it ends.

    `kill_at` is the turn in which the coordinator dies, `stop_at` that of a signal; `deaths` of replicas.
    """

    replicas: int
    minibatch: int
    portion: int | str
    chunk_rows: int | None
    epochs: float
    steps: int | None = None
    warm: int = 0
    deaths: int = 0
    kill_at: int = -1
    stop_at: int = -1
    mirrored: bool = True


def shapes(draw: Random, epochs: int) -> list[Shape]:
    """Draw three to six shapes; the last ends when all epochs are done."""

    def one(last: bool) -> Shape:
        end = "" if last else draw.choice(["stop", "kill", "kill", "steps", "epochs"])
        turn = draw.randrange(1, 60)
        return Shape(
            replicas=draw.randint(1, 5),
            minibatch=draw.randint(1, 12),
            portion=draw.choice(["auto", "auto", draw.randint(1, 5)]),
            chunk_rows=draw.choice([None, draw.randint(1, 9)]),
            epochs=epochs if end != "epochs" else round(draw.uniform(0.1, epochs), 2),
            steps=draw.randrange(1, 40) if end == "steps" else None,
            warm=draw.choice([0, 0, draw.randrange(1, 9)]),
            deaths=draw.choice([0, 0, 1, 3]),
            kill_at=turn if end == "kill" else -1,
            stop_at=turn if end == "stop" else -1,
            mirrored=draw.random() < 0.8,
        )

    return [one(last) for last in [False] * draw.randint(2, 5) + [True]]
