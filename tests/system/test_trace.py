"""The trace of real runs: what ranks record, that its sums are those of the summary, and what it becomes."""

import gzip
import json
from collections import defaultdict

import numpy as np
import pytest

from dbmpi.spans import Kind
from dbmpi.trace.command import main
from dbmpi.trace.files import open_job
from dbmpi.trace.writing import look
from tests.system.conftest import launch_in
from tests.system.reading import QUIET, messages, summary
from tests.system.skewed import AHEAD_S

FAULTY = "tests.system.faulty"
ON = (*QUIET, "output.trace=true")
RUNS = {  # ranks and keys
    "downpour": (7, ("cluster.shards=2", "cluster.partitions=2", "train.epochs=2", "output.every_s=0.05")),
    "sync": (4, ("train.algorithm=sync", "train.epochs=2")),
    "sandblaster": (4, ("train.algorithm=sandblaster", "sandblaster.iterations=4")),
    "serial": (0, ("train.epochs=1",)),
}


@pytest.fixture(scope="module")
def traced(environment, tmp_path_factory):
    """Return `traced(name)`, the directory of one of RUNS; each is run once."""
    made = {}

    def run(name):
        if name not in made:
            folder, (ranks, keys) = tmp_path_factory.mktemp(name), RUNS[name]
            done = launch_in(environment, folder)(ranks, *ON, *keys, "--run-dir", "run")
            assert (done.status, messages(done)) == (0, [])
            made[name] = folder / "run"
        return made[name]

    return run


@pytest.mark.both_mpis
@pytest.mark.parametrize("name", RUNS)
def test_its_sums_are_those_of_the_summary(traced, name):
    run = traced(name)
    _, shares = look(open_job(run, None))
    expected = summary(run)
    assert sum(one.busy_s for one in shares) == pytest.approx(expected["busy_s"], rel=0.02)
    for cause, seconds in expected["waits_s"].items():
        assert sum(one.waits_s.get(cause, 0.0) for one in shares) == pytest.approx(
            seconds, rel=0.02, abs=1e-4
        )


def lie_within(run, error_s=0.0):
    """See that what shards did lies in the exchanges that asked for it, but for an error; return how many."""
    asked, served = {}, {}
    for file in open_job(run, None).files:
        records = file.read()
        asked |= keyed(records, Kind.EXCHANGE, True, file.rank)
        served |= keyed(records, Kind.SERVE, False, file.rank)
    assert set(asked) <= set(served)
    for key, (start, stop) in asked.items():
        assert start - error_s <= served[key][0] <= served[key][1] <= stop + error_s
    return len(asked)


def keyed(records, kind, mine, rank):
    """Return (start, stop) of the exchanges of a rank, by client, shard, piece and number."""
    chosen = records[records["kind"] == kind]
    pairs = [(rank, int(peer)) if mine else (int(peer), rank) for peer in chosen["peer"]]
    keys = zip(pairs, chosen["piece"].tolist(), chosen["serial"].tolist(), strict=True)
    times = zip(chosen["start"].tolist(), chosen["stop"].tolist(), strict=True)
    return dict(zip(keys, times, strict=True))


@pytest.mark.parametrize("name", ["downpour", "sync", "sandblaster"])
def test_what_a_shard_does_lies_in_the_exchange_that_asked_for_it(traced, name):
    assert lie_within(traced(name)) > 20


def test_so_it_does_where_the_clock_of_another_host_is_ahead(launch, tmp_path, capsys):
    done = launch(4, *ON, "train.epochs=1", "--run-dir", "run", module="tests.system.skewed")
    assert (done.status, messages(done)) == (0, [])
    run = tmp_path / "run"
    error_s = max(file.error_s for file in open_job(run, None).files)
    assert 0 < error_s < AHEAD_S / 100
    assert lie_within(run, error_s) > 5
    window, _ = look(open_job(run, None))
    assert window.seconds < AHEAD_S / 10
    assert main([str(run), "--json"]) == 0
    assert "clocks of hosts: agree to" in capsys.readouterr().out


def read_perfetto(path):
    """Return track names by number, slices as (track, name, start, stop), and the moments of each arrow."""
    perfetto_trace = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
    trace = perfetto_trace.Trace()
    trace.ParseFromString(path.read_bytes())
    event, tracks, slices, arrows = perfetto_trace.TrackEvent, {}, [], defaultdict(list)
    names, stacks = defaultdict(dict), defaultdict(list)
    for packet in trace.packet:
        sequence = packet.trusted_packet_sequence_id
        names[sequence].update({one.iid: one.name for one in packet.interned_data.event_names})
        if packet.HasField("track_descriptor"):
            one = packet.track_descriptor
            tracks[one.uuid] = one.process.process_name or one.name, one.parent_uuid
        elif packet.track_event.type == event.TYPE_SLICE_BEGIN:
            one = packet.track_event
            name = names[sequence][one.name_iid]
            stacks[one.track_uuid].append((name, packet.timestamp))
            for step, numbers in enumerate((one.flow_ids, one.terminating_flow_ids)):
                for number in numbers:
                    arrows[number].append((packet.timestamp, step, name, one.track_uuid))
        elif packet.track_event.type == event.TYPE_SLICE_END:
            track = packet.track_event.track_uuid
            name, start = stacks[track].pop()
            assert start <= packet.timestamp
            slices.append((track, name, start, packet.timestamp))
    assert not any(stacks.values())
    return tracks, slices, arrows


def test_perfetto_reads_its_rows_and_arrows(traced, capsys):
    run = traced("downpour")
    pytest.importorskip("perfetto")
    assert main([str(run)]) == 0
    told = capsys.readouterr()
    assert f"{run / 'trace.pftrace'}: open it" in told.out and "7 ranks" in told.out and not told.err
    assert "dropped: nothing" in told.out and "replica 1 partition 0" in told.out
    tracks, slices, arrows = read_perfetto(run / "trace.pftrace")
    ranks = {name for name, _ in tracks.values() if name.startswith("rank")}
    assert len(ranks) == 7 and "rank 3 (replica 0 partition 0)" in ranks
    (node,) = (name for name, parent in tracks.values() if not parent)
    assert node.startswith("node 0 (")
    wanted = {"train", "forward", "backward", "wait: states", "push and fetch", "apply and send", "evaluate"}
    assert wanted <= {name for _, name, _, _ in slices}
    pushes = [steps for steps in arrows.values() if any(name == "push and fetch" for _, _, name, _ in steps)]
    assert len(pushes) > 20
    for steps in pushes:  # from a replica to a shard and back
        assert [name for _, _, name, _ in sorted(steps)] == ["push and fetch", "apply and send", "fetched"]


def test_without_a_package_it_is_json_as_chrome_reads_it(traced):
    run = traced("downpour")
    assert main([str(run), "--json", "-o", str(run / "chrome.json.gz")]) == 0
    with gzip.open(run / "chrome.json.gz", "rt") as text:
        events = json.load(text)["traceEvents"]
    ranks = [e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"]
    assert {"rank 0 (coordinator)", "rank 2 (shard 1)"} <= set(ranks)
    kinds = {phase: sum(e["ph"] == phase for e in events) for phase in "XstfC"}
    assert kinds["X"] > 500 and kinds["s"] and kinds["f"] and kinds["C"]
    assert abs(kinds["s"] - kinds["t"]) < 5


def test_each_job_of_a_run_has_its_own(traced, launch, capsys):
    run = traced("serial")
    assert launch(0, *ON, "train.epochs=2", "--run-dir", run, "--resume").status == 0
    for given, status, words in [
        ([], 0, "job 2: 1 rank"),
        (["--job", "1"], 0, "job 1: 1 rank"),
        (["--job", "3"], 2, "job 3 has no trace; there is one of job 1, 2 (--job)"),
    ]:
        assert main([str(run), "--json", *given]) == status
        assert words in "".join(capsys.readouterr())


def test_a_run_without_one_says_which_key_makes_it(launch, tmp_path):
    (tmp_path / "config.toml").touch()
    done = launch(0, tmp_path, module="dbmpi.trace")
    assert (done.status, done.out) == (2, "")
    assert done.err.count("\n") == 1 and "has no trace: record one with --set output.trace=true" in done.err


def test_a_trace_that_cannot_be_written_is_a_warning(launch, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "trace").write_text("in the way")
    done = launch(3, *ON, "train.epochs=1", "--run-dir", "run")
    assert (done.status, messages(done)) == (0, [])
    assert done.err.count("warning: no trace of rank") == 1
    assert summary(tmp_path / "run")["status"] == 0


def test_a_rank_that_fails_leaves_its_own_and_the_command_says_whose_are_missing(launch, tmp_path, capsys):
    done = launch(4, "raise", "replica", 2, 20, *ON, "--run-dir", "run", module=FAULTY)
    assert done.status == 1
    assert open_job(tmp_path / "run", None).files
    assert main([str(tmp_path / "run"), "--json"]) == 0
    assert "replica 0 partition 0" in capsys.readouterr().out
    records = next(f for f in open_job(tmp_path / "run", None).files if f.rank == 2).read()
    assert np.count_nonzero(records["kind"] == Kind.FORWARD) >= 19
