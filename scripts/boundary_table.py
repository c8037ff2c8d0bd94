#!/usr/bin/env python3
"""Print what crosses the boundaries of one replica, as a Markdown table: `boundary_table.py`.

For the paper's image network and the paper's speech network (fully connected), cut into P partitions:
bytes and messages that all partitions send together in one training step of 100 examples, by the plan, and
the bytes for each million floating-point operations of that step (6 for each weight and example).
Tests hold the counters of real runs to the same plan.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dbmpi.config import load
from dbmpi.config.layers import Dense
from dbmpi.layout.network import Network, build, from_layers
from dbmpi.layout.partitioning import Partitioning, Traffic
from dbmpi.screen import reported, screens

ROOT = Path(__file__).resolve().parent.parent
PARTITIONS = (2, 4, 8, 16, 32, 81)
MINIBATCH, FLOAT32 = 100, 4
IMAGE = (100, 100, 3)


def networks() -> dict[str, Network]:
    """Return the two networks of the paper, section 5."""
    image = load.load(ROOT / "examples" / "paper-image.toml")
    hidden = [Dense(units=2560, activation="sigmoid")] * 4
    speech = from_layers([*hidden, Dense(units=8192)], 440, "softmax")
    return {"image": build(image, IMAGE), "speech": speech}


def sent(net: Network, partitions: int) -> Traffic:
    """Return what all partitions of a replica send in one step."""
    plan = Partitioning(net, partitions)
    return sum((plan.traffic(p, MINIBATCH, FLOAT32) for p in range(partitions)), Traffic(0, 0))


def costs(net: Network, traffic: Traffic) -> list[str]:
    """Return megabytes, messages, and bytes for each million operations, as text."""
    megaflops = 6 * net.parameters * MINIBATCH / 1e6
    return [f"{traffic.bytes / 1e6:,.0f}", f"{traffic.messages:,}", f"{traffic.bytes / megaflops:,.0f}"]


def main() -> None:
    """Print the table."""
    heads = [f"{name}, {what}" for name in ("image", "dense") for what in ("MB", "messages", "bytes/Mflop")]
    print(f"| P | grid | {' | '.join(heads)} |")
    print("| --- " * (2 + len(heads)) + "|")
    nets = networks()
    for partitions in PARTITIONS:
        rows, columns = Partitioning(nets["image"], partitions).grid
        cells = [cell for net in nets.values() for cell in costs(net, sent(net, partitions))]
        print(f"| {partitions} | {rows} x {columns} | {' | '.join(cells)} |")


if __name__ == "__main__":
    with screens():
        main()
        status = reported(0)
    sys.exit(status)
