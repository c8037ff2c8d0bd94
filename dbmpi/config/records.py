"""The sections of the configuration about what a run shows and leaves: its records, and its checkpoints."""

from dataclasses import dataclass
from typing import Literal

from dbmpi.config.schema import Auto, key


@dataclass(frozen=True, kw_only=True)
class Output:
    """Records in metrics.jsonl, and what is shown while the program runs."""

    every_s: float = key(1.0, "Interval of the train records.", unit="s", above=0)
    every_examples: int | Auto = key(
        "auto",
        "Write a train record after so many examples too, all replicas together, but no more than a hundred "
        "a second; 0: off. auto: some 200 records of a run.",
        unit="examples",
        minimum=0,
    )
    shard_every_s: float = key(
        5.0, "Interval of the records of shards, and of those of replicas.", unit="s", above=0
    )
    tensorboard: bool = key(
        False,
        "Write the numbers of all records as files of TensorBoard's too, into tensorboard in the run "
        "directory; needs tensorboardX (pip install dbmpi[tensorboard]).",
    )
    progress: Literal["auto", "bar", "plain", "none"] = key(
        "auto",
        "Progress as a bar, as plain lines or not at all; auto: a bar on the terminal of the launcher, or of "
        "a process without one; else lines.",
    )
    plain_every_s: float = key(30.0, "Interval of the plain lines.", unit="s", above=0)
    lease_s: float = key(
        60.0,
        "A run renews its record, as the owner of its directory, four times in so many seconds; another one "
        "that waits (--wait) takes the directory over when that has not been done for so long.",
        unit="s",
        above=0,
        maximum=1_000_000,
    )
    trace: bool = key(
        False,
        "Record what every rank does and when, for python -m dbmpi.trace: computing, waits, exchanges with "
        "the shards, checkpoints. Each rank writes a file in RUN_DIR/trace when it leaves.",
    )
    trace_mib: int = key(
        16,
        "Memory for these records, of each rank: the newest 26,000 a MiB are kept.",
        unit="MiB",
        minimum=1,
        maximum=4096,
    )


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a run can go on from: written while it trains, when it is told to stop, and at its end."""

    every_s: float = key(600.0, "Write one every so many seconds; 0: off.", unit="s", minimum=0)
    every_examples: int = key(
        0, "Write one every so many examples learned from; 0: off.", unit="examples", minimum=0
    )
    keep: int = key(2, "Keep so many, the newest.", unit="checkpoints", minimum=1)
    best: bool = key(True, "Keep the one with the best result of an evaluation too.")
    signal: Literal["USR1", "USR2", "ALRM", "none"] = key(
        "USR1",
        "Signal that ends a run with a checkpoint, as SIGTERM and SIGINT always do, and SIGUSR1, SIGUSR2 and "
        "SIGALRM where they are not ignored.",
    )
    timeout_s: float | Auto = key(
        "auto",
        "Warn of one that is not on disk after so long; training goes on. auto: 60 s and what it takes at 10 "
        "MB/s. The last one of a run has all the time it needs.",
        unit="s",
        above=0,
    )
    mirror_s: float = key(
        10.0,
        "Copy each shard into the memory of another one every so many seconds, so that the run survives its "
        "death where ranks may die (mpirun --with-ft ulfm); Sandblaster does so in every iteration; 0: off.",
        unit="s",
        minimum=0,
    )
