"""What is drawn for a try: how the run is made, what it goes on with, whom it meets, and when."""

import random
from dataclasses import dataclass

from scripts.chaos.jobs import Mode
from scripts.chaos.kinds import Kind
from scripts.chaos.shapes import SHAPES, Shape

GAP_S = 1.0  # between two victims, at most
BEFORE = 0.25  # share of the tries before training
SAME = 0.5  # share of the runs that go on with the shape they had


@dataclass(frozen=True)
class Calm:
    """What is known of undisturbed runs of a mode: seconds until training begins, and losses by iteration."""

    began_s: float
    losses: list[float]

    def after_s(self, moment: float) -> float:
        """Return the seconds from the launch to wait for a moment that is before training, and else 0."""
        return self.began_s * moment / BEFORE if moment < BEFORE else 0.0


@dataclass(frozen=True)
class Plan:
    """What is drawn for a try, before anything is known of the machine."""

    mode: Mode
    shape: Shape
    again: Shape
    victims: list[int]
    moment: float  # 0 to 1; below `BEFORE`: before training
    gap_s: float

    @property
    def share(self) -> float:
        """The share of the training after which it is time."""
        return max(0.0, (self.moment - BEFORE) / (1 - BEFORE))

    @classmethod
    def drawn(cls, kind: Kind, draw: random.Random, modes: list[Mode]) -> "Plan":
        """Draw a plan for a kind; SystemExit where no mode fits it."""
        fitting = [mode for mode in modes if mode.launcher in kind.launchers]
        if not fitting:
            raise SystemExit(f"the launcher must be one of {', '.join(kind.launchers)}")
        mode = draw.choice(fitting)
        shape = draw.choice([shape for shape in SHAPES if shape.shards >= kind.shards])
        again = shape if draw.random() < SAME else draw.choice(SHAPES)
        some: list[int] = []
        while kind.roles and len(some) < (kind.victims or len(kind.roles)):
            # Roles are drawn first: there are more replicas than others.
            role = draw.choice(kind.roles) if kind.victims else kind.roles[len(some)]
            one = draw.choice(shape.ranks_of(role))
            some += [one] if one not in some else []
        gap_s = draw.choice([0.0, draw.uniform(0.0, GAP_S)])
        return cls(mode, shape, again, some, draw.random(), gap_s)
