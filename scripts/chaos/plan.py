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
        """Draw a plan for a kind."""
        mode, shape = draw.choice(modes), draw.choice(SHAPES)
        again = shape if draw.random() < SAME else draw.choice(SHAPES)
        ranks = sorted({rank for role in kind.roles for rank in shape.ranks_of(role)})
        some: list[int] = []
        while (
            ranks and len(some) < kind.victims
        ):  # roles are drawn first: there are more replicas than others
            one = draw.choice(shape.ranks_of(draw.choice(kind.roles)))
            some += [one] if one not in some else []
        gap_s = draw.choice([0.0, draw.uniform(0.0, GAP_S)])
        return cls(mode, shape, again, some, draw.random(), gap_s)
