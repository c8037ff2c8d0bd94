"""The ways to train that scripts compare, as settings: one list, so that a new way is a new line. Pure."""

SYNC = ["train.algorithm=sync"]
LBFGS = ["train.algorithm=sandblaster"]
CONJUGATE = [*LBFGS, "sandblaster.method=conjugate_gradient"]
MINIBATCH_16 = ["train.minibatch=16"]
# Adagrad as it was when staleness was first measured: what newer rules are compared with.
ADAGRAD_AS_IT_WAS = [
    *MINIBATCH_16,
    "downpour.rule=adagrad",
    "downpour.learning_rate=0.02",
    "downpour.schedule.warmup_epochs=0",
]


def rule(name: str) -> list[str]:
    """Return the settings of a rule of the shards."""
    return [f"downpour.rule={name}"]
