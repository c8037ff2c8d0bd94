"""PyTorch's rates: examples to an accuracy by each rule with three rates, one pass, one seed.

What `accuracy` then repeats is the best rate of each rule (`CHOSEN` there), of one process with 2 threads and
of two processes. Examples to an accuracy do not depend on the machine's speed, so that this part may run
beside others. A training ends with the accuracy, or after --examples.
"""

from collections.abc import Iterator, Mapping
from functools import partial

from scripts.bench import torch_ways
from scripts.bench.core import Group, Options, Row
from scripts.bench.parts.accuracy import DIGITS, EVERY

ROUNDS = 1


def groups(options: Options) -> Iterator[Group]:
    """Yield all rules and rates of each kind."""
    for kind in torch_ways.KINDS:
        ways = [(rule, rate) for rule, rates in torch_ways.RATES.items() for rate in rates]
        rows = [Row(f"{kind}, {rule} {rate:g}", f"{kind} {rule} {rate:g}", "examples") for rule, rate in ways]
        yield Group(f"rates of {kind}", {kind: partial(examples, options, kind, ways)}, rows)


def examples(options: Options, kind: str, ways: list[torch_ways.Way]) -> Mapping[str, float]:
    """Train in all ways; return the examples that each took."""
    more = {"examples": options.examples, "every": EVERY, "until": options.target}
    data = str(options.data or DIGITS)
    found = torch_ways.train(data, torch_ways.KINDS[kind], ways, options.seed, **more)
    return {
        f"{kind} {rule} {rate:g}": torch_ways.examples_to(one, options.target)
        for (rule, rate), one in zip(ways, found, strict=True)
    }
