"""docs/records.md, written from the tables of `schema`: `python -m dbmpi.output > docs/records.md`. Pure.

A test compares the page with what is written here, and what runs write with the tables.
"""

from collections.abc import Sequence

from dbmpi.output.schema import EVERY, KINDS, RUN, SUMMARY, VERSION, Field

HEAD = f"""# Records

What a run measures goes into three files of its directory:

* `metrics.jsonl`: one record a line, as JSON, written while the run goes on;
* `summary.json`: the sums, written at the end of each job;
* `run.json`: who does what, written when a job begins.

This page says what each field means, in which unit, and since which version of the schema it is there.
Now it is version {VERSION}. A record of kind `job` with `began` true says which version the records after
it have; where none says so it is version 1, of runs before there were versions; it grew, so its older
records lack some of its fields. A run that goes on appends to `metrics.jsonl`, so a file may hold both.
Fields are never taken away from a version, nor given another meaning; a reader should pass over what it
does not know.

A type is as JSON has it. `[float]` is a list, `{{float}}` a table by names, and `float?` may be null.
What is not finite is null, as JSON has no other word for it. *Always* means: in every record of that
version.

## Several jobs

A run that goes on does so from a checkpoint, and `time_s`, `step` and `examples` with it. What a job had
recorded after its last checkpoint, as when it was killed, is in the file, and was done again by the next
one. Leave it out before you draw a curve:

```python
import json

records = []
for line in open("runs/a/metrics.jsonl"):
    if not line.endswith("\\n"):
        break  # half a line: see below
    record = json.loads(line)
    if record["kind"] == "job" and record["began"]:
        records = [one for one in records if one["time_s"] <= record["time_s"]]
    records.append(record)
```

While a run goes on, and after a job that was killed, the last line may be half of one; the next job removes
it. `python -m dbmpi.report RUN --csv DIR` writes tables in which what was done again is marked
([the report](report.md#tables)).

## How fine the records are

Replicas report *portions* (`train.portion` minibatches), and a record has what was reported since the
last one. So a run has at most as many train records as portions; a short run with large portions has few.
Give it a smaller `train.portion` if you want to see more of it. No more than a hundred records a second
are written by `output.every_examples`, however fast a run is.

## What partitions wait for

The waits of partitions are counted by cause:

| cause | waits for |
| --- | --- |
| `fetch` | parameters from the shards; also where a push goes with the fetch |
| `push` | shards to take a push, where nothing is fetched with it |
| `states`, `derivatives`, `output_stats` | other partitions of the replica: the boundary |
| `shared` | tensors that all partitions of the replica work with, and their gradients |
| `data` | rows that are read from the file |
| `coordinator` | the next order: before an order; all other waits are within the time from order to report |
| `shards` | version 1: `fetch` and `push` together. Sums that go on from version 1 keep it beside them |

## Two views of staleness

A shard knows how many updates a piece of the parameters has had since it was fetched, for each push that
it applies. That is the staleness of `shard` records, and of `summary.json` as a whole. A client knows the
same from the replies, and so whose pushes were stale: the staleness of `train` and `replicas` records.
The two agree, but for pushes that are still under way when a record is written, for the last ones of a
run, and for `downpour.average` above 1, where a client may count one update too many: it does not know
which push of several has made the step.

## Cores

`core_share` compares the CPU time of a partition's main thread with the time in which it computed. Where
each partition has a core it is near 1. Half of it means that two such threads share a core, whatever else
runs there. With several threads (`cluster.threads`) the main thread computes its part of each product and
then waits for the others, which may count as no CPU time; so compare it with a run of one thread before
you call it a lack of cores. A shard and the coordinator are not in it.

"""

HEADER = ("| field | type | unit | since | there | |", "| --- | --- | --- | --- | --- | --- |")


def page() -> str:
    """Return the page."""
    kinds = [f"### `{name}`\n\n{kind.doc}\n\n{_table(kind.fields)}" for name, kind in KINDS.items()]
    return "\n".join(
        [
            HEAD + "## `metrics.jsonl`\n\nEvery record has:\n",
            _table(EVERY),
            "And by its kind:\n",
            *kinds,
            "## `summary.json`\n",
            _table(SUMMARY),
            "## `run.json`\n",
            _table(RUN),
        ]
    )


def _table(fields: Sequence[Field]) -> str:
    rows = (
        f"| `{one.name}` | `{one.type}` | {one.unit} | {one.since} | {one.when or 'always'} | {one.meaning} |"
        for one in fields
    )
    return "\n".join([*HEADER, *rows, ""])
