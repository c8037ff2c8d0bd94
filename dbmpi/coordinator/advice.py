"""What a run that goes wrong says, with the keys to turn. Pure."""

FAILED = (
    "the optimizer can go no further: the loss or its gradient is not finite, or the loss does not fall along"
    " its negative gradient; the model is the best that was found. Look for values in the data that are not "
    'finite or very large, or take model.dtype = "float64"'
)
SCALED = "see that inputs and float targets are of the order of 1 (attributes scale and offset of x)"
MATCHED = "see that row i of y belongs to row i of x"
DIVERGED = {
    "downpour": "lower downpour.learning_rate, begin with downpour.warmstart, set downpour.max_gradient_norm",
    "sync": "lower downpour.learning_rate, give downpour.schedule a warm-up, set downpour.max_gradient_norm",
    "sandblaster": "lower model.l2 if it is not 0, take a larger sandblaster.sample if one is given",
}
OTHER_STEPS = (
    "raise downpour.learning_rate if the loss hardly moves, lower it if it has risen; take another "
    "downpour.rule"
)
NOT_LEARNING = {"downpour": OTHER_STEPS, "sync": OTHER_STEPS, "sandblaster": "lower model.l2 if it is not 0"}


def diverged(seen: str, algorithm: str) -> str:
    """Say that a run diverged, by what was seen, and what to do."""
    return f"the run diverged: {seen}; {DIVERGED[algorithm]}, or {SCALED}"


def not_learning(loss: float, chance: float, algorithm: str) -> str:
    """Say that a run does no better than chance, and what to do."""
    return (
        f"warning: the run does not learn: its training loss stays at {loss:.4g}, and one and the same "
        f"answer for every example would cost {chance:.4g}. Of the data: {MATCHED}, and {SCALED}. Of the "
        f"settings: {NOT_LEARNING[algorithm]}"
    )


def by_heart(loss: float, chance: float, held_out: str) -> str:
    """Say that what was learned from the training set is no good for what is held out."""
    return (
        "warning: the training set is learned by heart: one and the same answer for every example would cost "
        f"{chance:.4g}; the training loss is below that, and the {held_out} loss above, {loss:.4g}. Take "
        f"more examples, fewer epochs, a smaller network or a larger model.l2, and {MATCHED}"
    )
