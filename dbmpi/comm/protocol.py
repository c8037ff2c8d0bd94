"""Every message of the program: its tag, its layout, who sends it and who receives it.

    tag         layout           from -> to                when
    REQUEST     REQUEST_HEADER   partition -> shard        fetch, push, or both in one round trip; accrue
                                 coordinator -> shard      save (the first), checkpoint, stop, a death,
                                                           vector operations, a mirror, the way back to it,
                                                           the coordinator's state (the first)
                                 first shard -> shard      fetch, while the model is saved
    GRADIENT    wire[n]          partition -> shard        follows a REQUEST that pushes or accrues
    REPLY       REPLY_HEADER     shard -> whoever asked    once for a REQUEST to fetch, push, accrue, save,
                                                           checkpoint; for a death from the heir alone
    PARAMETERS  float[n]         shard -> whoever asked    follows a REPLY to a REQUEST that fetches
    OPERATIONS  OPERATION[n]     coordinator -> shard      follows a REQUEST for vector operations
    SCALARS     float64[n]       shard -> coordinator      the answer: a partial sum for each dot product
    ASSIGNMENT  ASSIGNMENT       coordinator -> partition  work, a verdict, a sign of life, or to leave
                                 coordinator -> spare      to leave
    REPORT      REPORT           partition -> coordinator  work done, or a sign of life
    SHARD       SHARD_REPORT     shard -> coordinator      every `output.shard_every_s`, and at the end
    VECTORS     int64[n]         coordinator -> shard      follows a REQUEST for a checkpoint or a mirror of
                                                           n vectors of a batch method
    WRITTEN     WRITTEN          shard -> coordinator      its file of a checkpoint is on disk
    STATE       bytes[n]         coordinator -> shard      follows a REQUEST to keep the coordinator's state
    MIRRORED    MIRRORED         shard -> coordinator      its mirror has left, and the one it holds is whole
    SIGNAL      SIGNAL           others -> coordinator     a signal to stop has arrived
    FAREWELL    nothing          coordinator -> others     where ranks may die: all is written, exit
                                 others -> coordinator     the answer

These travel on the service communicator, a duplicate of the world. A REQUEST is about one piece of
the parameter vector (`layout.sharding`), so no message reaches 2^31 bytes; MPI keeps the order of
messages between two ranks, so replies need no number. Boundary messages travel on the replica's own
communicator, with the tags of `boundary_tag`, and mirrors on the shards' own: each shard sends its
successor int64[k], the updates of its k pieces, then vectors in stretches, all with the tag `mirror_tag`.
There too travels what an emergency checkpoint needs (`server.emergency`), with the tag `EMERGENCY_TAG`:
EMERGENCY, and int64[n] for n vectors of a batch method, from the first shard to the others; EMERGENCY back
when their files are on disk.
Headers are numpy records of fixed layout: nothing is pickled once training has begun.
"""

from enum import IntEnum, IntFlag
from typing import Any

import numpy as np

from dbmpi.errors import ProtocolError


class Tag(IntEnum):
    """Tags on the service communicator."""

    REQUEST = 1
    GRADIENT = 2
    REPLY = 3
    PARAMETERS = 4
    ASSIGNMENT = 5
    REPORT = 6
    SHARD = 7
    OPERATIONS = 8
    SCALARS = 9
    VECTORS = 10
    WRITTEN = 11
    SIGNAL = 12
    FAREWELL = 13
    MIRRORED = 14
    STATE = 15


class Op(IntFlag):
    """What a REQUEST asks a shard to do; FETCH | PUSH is one round trip."""

    FETCH = 1
    PUSH = 2
    SAVE = 4
    STOP = 8
    ACCRUE = 16  # add to the gradient of an evaluation
    OPERATE = 32  # perform vector operations
    CHECKPOINT = 64  # copy the slice, answer, and write the copy
    ADOPT = 128  # a shard has died: its heir adopts its pieces and answers, the others take note
    MIRROR = 256  # send the heir a copy of some vectors, and take one from the shard before
    REVERT = 512  # go back to the parameters of a mirror
    KEEP_STATE = 1024  # keep the coordinator's state, in place of the one before


class Status(IntEnum):
    """How a shard took a push."""

    OK = 0
    STALE = 1
    NOT_FINITE = 2
    TOO_LARGE = 3
    LOST = 4  # ADOPT: no whole mirror is here; SAVE: another shard has died meanwhile


class Work(IntEnum):
    """What an ASSIGNMENT orders."""

    TRAIN = 0
    EVALUATE = 1
    FLUSH = 2  # push what is accrued, and wait until the shards have it
    ALIVE = 3  # the coordinator lives; go on waiting
    LEAVE = 4
    GRADIENT = 5  # compute the gradient of a portion of a batch
    ACCEPT = 6  # that gradient counts: add it to the accrued sum
    DROP = 7  # it does not, another replica was first: forget it, or stop computing it
    PUSH = 8  # push the accrued sum
    RETIRE = 9  # the replica has lost a rank: leave all work, and wait for LEAVE
    REROUTE = 10  # a shard has died: its heir has its pieces now


# Done as they arrive, between minibatches.
URGENT = (Work.ACCEPT, Work.DROP, Work.PUSH, Work.RETIRE, Work.REROUTE)


REQUEST_HEADER = np.dtype(
    [
        ("op", "i4"),
        # STOP: the exit status of the run. ADOPT: the shard that has died. MIRROR: 1 for all that there is.
        ("piece", "i4"),
        # Of the parameters that the gradient was computed from. ACCRUE: the evaluation. CHECKPOINT, MIRROR,
        # REVERT: the number.
        ("version", "i8"),
        ("rate", "f8"),  # learning rate that the rule shall use
        ("steps", "i4"),  # minibatches in the gradient; OPERATE, CHECKPOINT, MIRROR: what follows
        ("wire", "i4"),  # index into WIRE
    ]
)

REPLY_HEADER = np.dtype(
    [
        ("piece", "i4"),  # ADOPT: age of the mirror, in milliseconds
        ("status", "i4"),
        ("version", "i8"),  # after the push; of what follows. ADOPT: the mirror's updates, or its number
    ]
)

ASSIGNMENT = np.dtype(
    [
        ("work", "i4"),
        ("epoch", "i4"),  # of a batch: which sample
        ("part", "i4"),  # REROUTE: the shard that has died
        ("index", "i4"),  # LEAVE: the exit status of the run; REROUTE: the heir
        ("pass_number", "i8"),  # GRADIENT and what follows it: the pass over the batch
        ("minibatches", "i8"),  # at most so many of the portion
        ("examples", "i8"),  # handed out before this portion, for the schedule; GRADIENT: in the batch
        ("start", "i8"),  # EVALUATE: rows [start, stop) of the held-out set
        ("stop", "i8"),
    ]
)

REPORT = np.dtype(
    [
        ("work", "i4"),
        ("replica", "i4"),
        ("partition", "i4"),
        ("index", "i4"),  # GRADIENT: the portion
        ("pass_number", "i8"),  # GRADIENT and PUSH: the pass over the batch
        ("steps", "i8"),
        ("examples", "i8"),
        ("correct", "i8"),
        ("loss_sum", "f8"),  # this partition's share, summed over examples
        ("busy_s", "f8"),
        ("wait_s", "f8"),  # of busy_s: waiting for shards, other partitions, or the disk
        ("boundary_messages", "i8"),  # sent since the last report
        ("boundary_bytes", "i8"),
        ("pushes", "i8"),
        ("fetches", "i8"),
        ("refused", "i8"),  # pushes of pieces that a shard refused
    ]
)

OPERATION = np.dtype(
    [
        ("kind", "i4"),  # operations.Kind, which says what the other fields mean
        ("group", "i4"),
        ("out", "i4"),
        ("left", "i4"),
        ("right", "i4"),
        ("factor", "f8"),
        ("number", "i8"),
    ]
)

HISTOGRAM = 256  # staleness 0, 1, ..., 254, and 255 or more

SHARD_REPORT = np.dtype(
    [
        ("shard", "i4"),
        ("clients", "i4"),  # ranks that it has heard from
        ("updates", "i8"),  # pushes applied, summed over its pieces
        ("pieces", "i8"),
        ("fetches", "i8"),
        ("stale", "i8"),  # pushes refused, by reason
        ("not_finite", "i8"),
        ("too_large", "i8"),
        ("staleness_sum", "i8"),
        ("staleness_max", "i8"),
        ("busy_s", "f8"),
        ("bytes_in", "i8"),
        ("bytes_out", "i8"),
        ("last", "i4"),  # 1: the final report, the shard leaves
        ("histogram", "i8", (HISTOGRAM,)),
    ]
)

WRITTEN = np.dtype(
    [
        ("shard", "i4"),
        ("number", "i8"),  # of the checkpoint
        ("bytes", "i8"),  # size of the file
        ("sha256", "u1", (32,)),  # of the file
    ]
)

MIRRORED = np.dtype([("shard", "i4"), ("number", "i8")])  # of the mirror

SIGNAL = np.dtype([("number", "i4")])

EMERGENCY = np.dtype(
    [
        ("number", "i8"),  # of the checkpoint; 0: there will be none
        ("mirror", "i8"),  # whose parameters to save; 0: those of this moment
        ("vectors", "i8"),  # of a batch method, how many follow; -1: the learning rule's state
        ("bytes", "i8"),  # size of the file, and its checksum
        ("sha256", "u1", (32,)),
    ]
)

WIRE = ("float32", "float64", "bfloat16", "float16")
WIRE_DTYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("f4"),
    "float64": np.dtype("f8"),
    "bfloat16": np.dtype("u2"),
    "float16": np.dtype("u2"),
}


class BoundaryPhase(IntEnum):
    """What a boundary message carries."""

    STATES = 0
    DERIVATIVES = 1
    OUTPUT_STATS = 2
    SHARED = 3  # space 0: the tensors; space 1: their gradients


EMERGENCY_TAG = 32_000  # beyond all tags of mirrors
LEAD_TAG = 32_000  # partition 0 -> others: whether to go on with a portion; beyond all boundary tags


def boundary_tag(space: int, phase: BoundaryPhase) -> int:
    """Return the tag of a boundary message of one space and phase, on a replica's communicator."""
    return len(BoundaryPhase) * space + phase


def mirror_tag(renewals: int) -> int:
    """Return the tag of mirrors that were begun anew, by a death or by order, so many times."""
    return renewals


def check_size(received: int, expected: int, what: str, peer: int) -> None:
    """Raise ProtocolError unless a message from world rank `peer` has the size its layout says."""
    if received != expected:
        raise ProtocolError(f"{what} from rank {peer} has {received} bytes where {expected} were due")
