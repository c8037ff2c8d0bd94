"""Every message of the program: its tag, its layout, who sends it to whom and when, and what takes it.

    tag         layout         from -> to: when                           handled in
    REQUEST     REQUEST_HEADER partition -> shard: see `Op`               server.requests:serve
                               (of a round)                               server.round_requests:serve
                               first shard -> shard: FETCH, for SAVE      server.requests:serve
    GRADIENT    wire[n]        partition -> shard: after PUSH or ACCRUE,  server.requests:gradient
                                   unless the shard maps it
    REPLY       REPLY_HEADER   shard -> whoever asked: to every REQUEST   replica.piece_exchange:ended
    PARAMETERS  float[n]       shard -> whoever asked: after FETCH,       replica.piece_exchange:ended
                                   unless it has written them in place
    COMMAND     COMMAND        coordinator -> shard: see `Command`        server.service:_obey
    VECTORS     int64[n]       coordinator -> shard: after CHECKPOINT or  server.service:_receive_vectors
                                   MIRROR, the numbers of n vectors
    OPERATIONS  OPERATION[n]   coordinator -> shard: after OPERATE        server.service:_operate
    STATE       bytes[n]       coordinator -> shard: after KEEP_STATE     server.service:_keep_state
                                   and KEEP_NOTES
    SCALARS     float64[n]     shard -> coordinator: answers OPERATE,     coordinator.shards:operate
                                   its share of each of n dot products
    ANSWER      ANSWER         shard -> coordinator: answers SAVE and     coordinator.commands:answer
                                   CHECKPOINT; the successor's, ADOPT
    SHARD       SHARD_REPORT   shard -> coordinator: a regular report;    coordinator.shards:_receive_report
                                   the last one, after REPORT
    WRITTEN     WRITTEN        shard -> coordinator: its file is on disk, coordinator.shards:_receive_written
                                   or cannot be written
    MIRRORED    MIRRORED       shard -> coordinator: its copy has left,   coordinator.shards:_receive_mirrored
                                   and the mirror that it holds is whole:
                                   after MIRROR, and after COVER
    ASSIGNMENT  ASSIGNMENT     coordinator -> partition: see `Work`       replica.service:_arrived
                               coordinator -> spare: LEAVE, ALIVE         replica.service:wait_as_spare
    REPORT      REPORT         partition -> coordinator: done, or ALIVE;  coordinator.service:_receive
                                   of EVALUATE: `scored`
    SIGNAL      SIGNAL         others -> coordinator: a signal to stop,   coordinator.service:_heed_signal
                                   or that it is fenced
    FAREWELL    nothing        coordinator -> others: exit (`ulfm`)       comm.ulfm:part
                               others -> coordinator: the answer          comm.ulfm:part

These travel on the service communicator, a duplicate of the world. A REQUEST is about one piece of the
parameter vector (`layout.sharding`), so no message reaches 2^31 bytes. What follows it has a tag of that
piece (`piece_tag`), so replies need no number. Replicas and shards have communicators of their own:

    tag            layout      from -> to: when                           handled in
    boundary_tag   float[n]    partition -> other: see `BoundaryPhase`    model.boundary:_wait
    LEAD_TAG       int64[1]    partition 0 -> the others of its replica:  replica.leader:decide
                                   whether to go on with a portion, or
                                   which round is next
    mirror_tag     int64[k]    shard -> successor: updates of k pieces    server.transfer:poll
                   float[n]    then vectors, in stretches                 server.transfer:poll
    EMERGENCY_TAG  EMERGENCY   first shard -> others: see `Emergency`     server.gathering:next
                               others -> first shard: the answer, ALIVE   server.gathering:next
                   int64[n]    after one that announces n numbers         server.gathering:next

Headers are numpy records of fixed layout: nothing is pickled once training has begun.
"""

from enum import IntEnum, IntFlag
from typing import Any

import numpy as np

from dbmpi.comm.segments import AREA
from dbmpi.comm.wait import Cause


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
    COMMAND = 16
    ANSWER = 17


OF_PIECES = (Tag.GRADIENT, Tag.REPLY, Tag.PARAMETERS)


def piece_tag(tag: Tag, piece: int) -> int:
    """Return the tag of a GRADIENT, a REPLY or PARAMETERS about a piece.

    Each piece has its own: in rounds a shard serves requests of one rank about several in another order than
    it got them, as each waits for others.
    """
    return len(Tag) + 1 + len(OF_PIECES) * piece + OF_PIECES.index(tag)


class Op(IntFlag):
    """What a REQUEST asks a shard to do; FETCH | PUSH is one round trip."""

    FETCH = 1
    PUSH = 2
    ACCRUE = 4  # add to the gradient of a pass over the batch
    HOLD = 8  # gradients may yet come from the parameters that were fetched last,
    LEARN = 16  # and from those that this FETCH gets
    CLOSE = 32  # make the step of the pushes that are accrued and not yet stepped with (`downpour.average`)
    AVERAGE = 64  # of a FETCH: the average of the parameters, where one is kept (`train.average`)


class Command(IntEnum):
    """What a COMMAND orders a shard to do; the fields of the record that it reads are in brackets."""

    SAVE = 0  # write the model, of a checkpoint if one is given, and answer (the first living shard) [number]
    STOP = 1  # leave [status]
    OPERATE = 2  # perform the vector operations that follow, and answer the dot products [count]
    CHECKPOINT = 3  # copy the slice, answer, and write the copy [number, vectors, count]
    # A shard has died: its successor takes over its pieces and answers, the others note it [dead, anew]
    ADOPT = 4
    MIRROR = 5  # send the successor a copy of some vectors [number, vectors, count, anew]
    REVERT = 6  # go back to the parameters of a mirror [number]
    KEEP_STATE = 7  # keep the coordinator's state, and that before it (the first living shards) [count]
    REPORT = 8  # send the last report, once all requests that have come are served
    KEEP_NOTES = 9  # keep NOTE records of what came since, which follow as STATE [count of bytes]
    ALIVE = 10  # the coordinator lives
    FENCE = 11  # a rank is silent: end it if it is on this host, and refuse its messages [dead]
    COVER = 12  # say MIRRORED when the mirror here is whole, and that of this shard has left [number]


class Emergency(IntEnum):
    """What shards say to one another when the coordinator has died; numbers that follow are in brackets."""

    ALIVE = 0  # nothing: whoever writes lives
    ASK = 1  # first shard -> others: take over from the dead [shards], and offer
    OFFER = 2  # others -> first shard: what they could write [numbers of mirrors]
    WRITE = 3  # first shard -> others: write your slice, of a mirror [vectors of a batch method]
    WRITTEN = 4  # others -> first shard: it is on disk
    END = 5  # first shard -> others: leave


class Status(IntEnum):
    """How a shard took a push or a command."""

    OK = 0
    STALE = 1
    NOT_FINITE = 2
    TOO_LARGE = 3
    LOST = 4  # ADOPT: no complete mirror is here; SAVE: another shard has died meanwhile
    FAILED = 5  # SAVE: the file cannot be written
    UNMAPPED = 6  # the shard cannot map the memory that a REQUEST names: nothing was done
    LATE = 7  # the round that a push is for is over: it is dropped
    FENCED = 8  # the run goes on without the rank that asks: nothing was done


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
    REROUTE = 10  # a shard has died: its successor has its pieces now
    FENCE = 11  # a rank is silent: end it if it is on this host


# Done as they arrive, between minibatches.
URGENT = (Work.ACCEPT, Work.DROP, Work.PUSH, Work.RETIRE, Work.REROUTE, Work.FENCE)


UNKNOWN = -1.0  # in place of a sum of squares
NO_ROUND = -1  # in place of the number of a round: a request that is served at once

REQUEST_HEADER = np.dtype(
    [
        ("op", "i4"),
        ("piece", "i4"),
        # Of the parameters that the gradient was computed from, or what is accrued where nothing is pushed.
        # ACCRUE: the pass over the batch.
        ("version", "i8"),
        ("rate", "f8"),  # learning rate that the rule shall use
        ("steps", "i4"),  # minibatches in the gradient, or accrued
        ("wire", "i4"),  # index into WIRE
        ("start", "i8"),  # of the piece in the partition's vector
        ("square", "f8"),  # PUSH: sum of squares of the gradient, or UNKNOWN: the shard finds it
        ("gradient", AREA),  # the memory that holds the vector; without one a GRADIENT follows,
        ("parameters", AREA),  # and PARAMETERS come
        # Of the round that a push is for, or that a fetch waits for: it is served when its step is made.
        ("round", "i8"),
        ("weight", "f8"),  # of the gradient in the mean of its round
    ]
)

REPLY_HEADER = np.dtype(
    [
        ("piece", "i4"),
        ("status", "i4"),  # of the push
        ("version", "i8"),  # after the push; of the parameters that follow
        ("round", "i8"),  # the next one of the piece, where the request was for one
    ]
)

COMMAND = np.dtype(
    [
        ("command", "i4"),
        ("status", "i4"),  # the exit status of the run
        ("dead", "i4"),  # ADOPT: index of the shard that has died; FENCE: the world rank
        ("anew", "i4"),  # MIRROR: 1: begin anew, with all that there is; ADOPT: 1: no work was given yet
        ("vectors", "i4"),  # 1: vectors of a batch method, whose numbers follow; 0: the rule's state
        ("number", "i8"),  # of the checkpoint, or of the mirror
        ("count", "i8"),  # records that follow: numbers of vectors, operations, or bytes
    ]
)

PROBLEM = "S600"  # UTF-8; `text.decoded` reads it

ANSWER = np.dtype(
    [
        ("status", "i4"),
        # ADOPT: what the shard goes on from.
        ("mirror", "i8"),  # number of the mirror; 0 if no command ordered it
        ("before", "i8"),  # number of the one before, which it could go back to; -1 for none
        ("updates", "i8"),  # that its pieces have had in this job
        ("age_ms", "i8"),  # of the mirror
        ("problem", PROBLEM),  # SAVE: why the file cannot be written
    ]
)

# `assignments.PlanNumbers`; chunk_rows 0: the file is not chunked.
PLAN = np.dtype([(n, "i8") for n in "rows minibatch replicas seed portion_minibatches chunk_rows".split()])
ASSIGNMENT = np.dtype(
    [
        ("work", "i4"),
        ("epoch", "i4"),  # of a batch: which sample
        ("part", "i4"),
        ("index", "i4"),  # of the portion
        ("pass_number", "i8"),  # GRADIENT and what follows it: the pass over the batch
        ("first", "i8"),  # TRAIN: the first of the portion's minibatches that are to be learned from,
        ("minibatches", "i8"),  # how many,
        ("rows", "i8"),  # the examples in them,
        ("plan", PLAN),  # and what tells which rows these are
        ("examples", "i8"),  # handed out before this portion, for the schedule; GRADIENT: in the batch
        ("round", "i8"),  # TRAIN, sync: the first round of the turn,
        ("rounds", "i8"),  # how many it has,
        ("stride", "i8"),  # and the examples in each, of all replicas
        (
            "start",
            "i8",
        ),  # EVALUATE: rows [start, stop) of what is held out: validation's, then those of test,
        ("stop", "i8"),
        ("checkpoint", "i8"),  # on the parameters of this checkpoint; 0: on those of the shards
        ("full", "i4"),  # EVALUATE: 1: count all that there is to count (`data.measures`)
        ("status", "i4"),  # LEAVE: the exit status of the run
        ("dead", "i4"),  # FENCE: the world rank; REROUTE: index of the shard that has died,
        ("successor", "i4"),  # and of the one that has its pieces now
    ]
)

NOTE = np.dtype([("replica", "i8"), ("done", "i8"), ("unpushed", "i8"), ("assignment", ASSIGNMENT)])

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
        ("data_loss_sum", "f8"),  # GRADIENT: of loss_sum, what is not the L2 penalty
        ("first_loss_sum", "f8"),  # of loss_sum: of the minibatch whose loss is that of the first parameters,
        ("first_examples", "i8"),  # and its examples; 0: the portion has none such
        ("busy_s", "f8"),
        ("wait_s", "f8"),  # of busy_s: waiting, for anything
        ("waits_s", "f8", (len(Cause),)),  # waiting by cause, for the order too, before busy_s began
        ("boundary_messages", "i8"),  # sent since the last report
        ("boundary_bytes", "i8"),
        ("pushes", "i8"),
        ("fetches", "i8"),
        ("refused", "i8"),  # pushes of pieces that a shard refused
        ("rate", "f8"),  # TRAIN: the learning rate, at last,
        ("taken", "i8"),  # pushes of pieces that were applied, and are known to be,
        ("staleness_sum", "i8"),  # their staleness, as the client knows it,
        ("staleness_max", "i8"),
        ("sampled", "i8"),  # pushes whose gradient was measured,
        ("square_sum", "f8"),  # and sums of squares of the mean over the minibatches in each
        (
            "cpu_s",
            "f8",
        ),  # of busy_s: the main thread had a core, and did not wait; 0: not measured
        ("unpushed", "i8"),  # examples whose gradient no shard is known to have
        ("dropped", "i8"),  # examples whose gradient came when its round was over
        ("unshown", "i4"),  # outputs of this rank that lack something
    ]
)


def scored(figures: int) -> np.dtype[Any]:
    """Return the layout of a REPORT of EVALUATE: with so many figures (`data.measures`) at its end.

    There are two, of the evaluations that count all and of the others.
    """
    fields: list[Any] = [(name, REPORT[name]) for name in REPORT.names or ()]
    return np.dtype([*fields, ("figures", "f8", (figures,))])


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

RECENT = 50  # pushes of a piece by which it is judged whether its gradients can be computed with
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
        ("recent", "i4"),  # of the last pushes of the piece that refuses most, at most RECENT: so many,
        ("recent_not_finite", "i4"),  # and those of them that were refused as not finite
        ("staleness_sum", "i8"),
        ("staleness_max", "i8"),
        (
            "unknown",
            "i8",
        ),  # pushes computed from parameters that were not known here: nothing was revised
        ("revised", "f8"),  # sum of the magnitudes of what was taken back of earlier steps,
        ("stepped", "f8"),  # and of the steps
        ("busy_s", "f8"),
        ("bytes_in", "i8"),
        ("bytes_out", "i8"),
        ("last", "i4"),  # 1: the final report, the shard leaves
        ("unshown", "i4"),  # outputs of this rank that lack something
        ("histogram", "i8", (HISTOGRAM,)),
    ]
)

WRITTEN = np.dtype(
    [
        ("shard", "i4"),
        ("number", "i8"),  # of the checkpoint
        ("bytes", "i8"),  # size of the file
        ("sha256", "u1", (32,)),  # of the file
        ("problem", PROBLEM),  # why it is not there, if it is not
    ]
)

# Number of the mirror, or with 0 of the COVER that is answered.
MIRRORED = np.dtype([("shard", "i4"), ("number", "i8"), ("cover", "i8")])

SIGNAL = np.dtype([("number", "i4")])
FENCED = -1  # in place of a signal: the coordinator was silent, and the shards write its checkpoint

EMERGENCY = np.dtype(
    [
        ("kind", "i4"),  # see `Emergency`
        ("batch", "i4"),  # WRITE: 1: vectors of a batch method, whose numbers follow; 0: the rule's state
        ("count", "i8"),  # numbers that follow
        ("number", "i8"),  # of the checkpoint
        ("generation", "i8"),  # WRITE: of the owner of the run directory that the first shard is now
        ("mirror", "i8"),  # whose parameters to save; 0: those of this moment
        ("bytes", "i8"),  # size of the file, -1 if it could not be written, and its checksum
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
LEAD_TAG = 32_000  # partition 0 -> others: what it decides; beyond all boundary tags


def boundary_tag(space: int, phase: BoundaryPhase) -> int:
    """Return the tag of a boundary message of one space and phase, on a replica's communicator."""
    return len(BoundaryPhase) * space + phase


def mirror_tag(renewals: int) -> int:
    """Return the tag of mirrors that were begun anew, by a death or by order, so many times."""
    return renewals
