"""The metrics log of a run: sums, records line by line, and the summary."""

import json
import math
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dbmpi.comm.protocol import REPORT, SHARD_REPORT
from dbmpi.comm.wait import CAUSES, Cause
from dbmpi.output.evaluation_sums import EvaluationSums
from dbmpi.output.goodput import Room
from dbmpi.output.interval import Every
from dbmpi.output.lines import LineFile
from dbmpi.output.metrics import MetricsLog
from dbmpi.output.partition_time import PartitionTime
from dbmpi.output.schema import VERSION
from dbmpi.output.summary import conclusion, summary
from dbmpi.output.totals import LogState, histogram, plain, service
from dbmpi.output.view import View
from dbmpi.typed import build


class Shown:
    """Remembers what the user would see."""

    next_s = 0.0

    def __init__(self) -> None:
        self.views: list[View] = []
        self.lines: list[str] = []
        self.closed = False

    def show(self, view: View) -> None:
        self.views.append(view)

    def line(self, text: str) -> None:
        self.lines.append(text)

    def close(self) -> None:
        self.closed = True


def report(**values: Any) -> np.ndarray:
    record = np.zeros((), REPORT)
    for name, value in values.items():
        record[name] = value
    return record


def shard_report(shard: int, **values: Any) -> np.ndarray:
    record = np.zeros((), SHARD_REPORT)
    record["shard"] = shard
    for name, value in values.items():
        record[name] = value
    return record


@pytest.fixture(autouse=True)
def lines_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every line be in the file when it was written."""
    write = LineFile.write

    def written(self: LineFile, line: str, soon: bool = False) -> None:
        write(self, line)
        self.flush()

    monkeypatch.setattr(LineFile, "write", written)


def new_log(path: Path, labels: bool = True, every_s: Every | float = 1.0) -> MetricsLog:
    made = MetricsLog(path / "metrics.jsonl", 100, labels, every_s, Shown())
    made.start(50.0)
    return made


def records(path: Path, kind: str | None = None) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [record for record in found if kind in (None, record["kind"])]


def test_evaluated_adds_shares_of_partitions_and_counts_rows_once():
    reports = [report(loss_sum=3.0, correct=4, examples=10), report(loss_sum=1.0, correct=0, examples=10)]
    total = EvaluationSums().add(reports).add([report(loss_sum=2.0, correct=5, examples=5)])
    assert (total.loss_sum, total.correct, total.rows) == (6.0, 9, 15)
    assert (total.loss, total.accuracy) == (6.0 / 15, 9 / 15)


def test_nothing_evaluated_has_neither_loss_nor_accuracy():
    assert math.isnan(EvaluationSums().loss) and math.isnan(EvaluationSums().accuracy)
    assert math.isnan(EvaluationSums(1.0, 0, 10, labels=False).accuracy)


def test_train_records_cover_what_came_since_the_last(tmp_path):
    log = new_log(tmp_path)
    waits = {Cause.FETCH: 0.3, Cause.DERIVATIVES: 0.2, Cause.COORDINATOR: 0.5}
    waits_s = [waits.get(cause, 0.0) for cause in Cause]
    seconds = {"busy_s": 2.0, "waits_s": waits_s, "cpu_s": 0.75}
    pushes = {"taken": 4, "staleness_sum": 6, "staleness_max": 5, "sampled": 1, "square_sum": 9.0}
    log.train([report(steps=2, examples=20, loss_sum=30.0, correct=5, rate=0.1, **seconds, **pushes)])
    log.tick(50.9)
    assert records(tmp_path) == []
    log.tick(51.0)
    log.tick(53.0)  # nothing was learned since: no record
    log.train([report(steps=1, examples=10, loss_sum=5.0, correct=9)])
    log.end_training(54.0)
    first, second = records(tmp_path, "train")
    assert first == {
        "kind": "train",
        "time_s": 1.0,
        "step": 2,
        "examples": 20,
        "loss": 1.5,
        "accuracy": 0.25,
        "examples_per_s": 20.0,
        "epoch": 0.2,
        "interval_s": 1.0,
        "wait_share": 0.25,
        "waits": dict.fromkeys(CAUSES, 0.0) | {"fetch": 0.12, "derivatives": 0.08, "coordinator": 0.2},
        "core_share": 0.5,
        "learning_rate": 0.1,
        "gradient_norm": 3.0,
        "staleness_mean": 1.5,
        "staleness_max": 5,
    }
    assert (second["loss"], second["accuracy"], second["step"], second["examples"]) == (0.5, 0.9, 3, 30)
    assert second["examples_per_s"] == pytest.approx(10 / 3) and log.train_s == 4.0
    assert [second[name] for name in ("gradient_norm", "staleness_mean", "core_share")] == [None] * 3


def test_the_gradient_s_norm_is_that_of_all_partitions_and_a_mean_of_squares(tmp_path):
    log = new_log(tmp_path)
    for squares in ((4.0, 5.0), (30.0, 2.0)):
        log.train([report(partition=p, sampled=1, square_sum=s, examples=1) for p, s in enumerate(squares)])
    log.train([report(partition=0, sampled=1, square_sum=2.0), report(partition=1)])  # had one under way
    log.tick(51.0)
    log.train([report(partition=0, sampled=1, square_sum=4.0, examples=1), report(partition=1)])
    log.tick(52.0)
    first, second = records(tmp_path, "train")
    assert first["gradient_norm"] == pytest.approx(math.sqrt(36 / 3 + 7 / 2))
    assert second["gradient_norm"] is None  # no more than a part of it is known


def test_examples_make_a_record_due_too_but_not_too_often(tmp_path):
    log = new_log(tmp_path, every_s=Every(100.0, 20))
    for now in (50.001, 50.002, 50.02, 50.021, 50.04):
        log.train([report(steps=1, examples=10)])
        log.tick(now)
    assert [record["examples"] for record in records(tmp_path, "train")] == [30, 50]
    assert not Every(100.0, 0).due(99.0, 10**9) and not Every(1.0).due(2.0, 0)


def test_what_the_user_sees_is_of_all_since_the_last_look(tmp_path):
    log = new_log(tmp_path, every_s=Every(100.0, 10))
    shown: Any = log._progress
    shown.next_s = 1.0
    for loss_sum, now in ((10.0, 50.5), (20.0, 51.0)):
        log.train([report(steps=1, examples=10, loss_sum=loss_sum)])
        log.tick(now)
    assert [record["loss"] for record in records(tmp_path, "train")] == [1.0, 2.0]
    assert [(view.loss, view.examples_per_s) for view in shown.views] == [(1.5, 20.0)]


def replica(number: int, **values: Any) -> list[np.ndarray]:
    """Return what two partitions of a replica report, the same of each."""
    return [report(replica=number, partition=p, **values) for p in range(2)]


def test_replicas_are_recorded_one_by_one_since_the_last_time(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, 100, True, 1e9, Shown(), room=Room(6, replicas=3), replicas_every_s=5.0)
    log.start(50.0)
    of_one = {"steps": 2, "examples": 20, "busy_s": 2.0, "cpu_s": 0.5, "pushes": 2, "refused": 1}
    log.train(replica(1, **of_one, taken=2, staleness_sum=3, staleness_max=2))
    log.tick(54.0)
    log.tick(55.0)
    log.leave_out(0)
    log.train(replica(2, **of_one))
    log.end_training(57.0)
    first, second = records(tmp_path, "replicas")
    assert (first["learned"], first["minibatches"], first["pushes"]) == ([0, 20, 0], [0, 2, 0], [0, 4, 0])
    assert (first["busy_s"], first["computed_s"]) == ([0.0, 4.0, 0.0], [0.0, 4.0, 0.0])
    assert (first["staleness_mean"], first["staleness_max"]) == ([None, 1.5, None], [None, 2, None])
    assert (first["core_share"], first["refused"]) == ([None, 0.25, None], [0, 2, 0])
    assert first["waits_s"]["fetch"] == [0.0] * 3 and first["interval_s"] == 5.0
    assert (second["learned"], second["waits_s"]["data"]) == ([None, 0, 20], [None, 0.0, 0.0])
    content = summary(log, "epochs", 0)
    assert content["replicas"]["learned"] == [0, 20, 20] and content["core_share"] == 0.25
    again = new_log(tmp_path)
    again.restore(build(LogState, json.loads(json.dumps(asdict(log.state()))), "log"))
    again.train(replica(0, **of_one))
    assert again.replicas[0].learned == 20 and [one.learned for one in again.replicas] == [20, 20, 20]


def test_partitions_of_one_portion_count_its_steps_once_and_its_messages_each(tmp_path):
    log = new_log(tmp_path)
    common = {"steps": 2, "examples": 20}
    log.train(
        [
            report(**common, boundary_messages=3, boundary_bytes=30),
            report(**common, boundary_messages=4, boundary_bytes=50),
        ]
    )
    assert (log.step, log.examples) == (2, 20)
    assert (log.boundary_messages, log.boundary_bytes) == (7, 80)


def test_every_record_has_the_four_common_keys(tmp_path):
    log = new_log(tmp_path)
    log.train([report(steps=1, examples=10, loss_sum=1.0)])
    log.tick(52.0)
    log.evaluation(EvaluationSums(2.0, 5, 10))
    log.shard(shard_report(0))
    log.event("something")
    kinds = [record["kind"] for record in records(tmp_path)]
    assert kinds == ["train", "eval", "shard", "event"]
    assert all({"kind", "time_s", "step", "examples"} <= set(record) for record in records(tmp_path))
    assert all((r["time_s"], r["step"], r["examples"]) == (2.0, 1, 10) for r in records(tmp_path))


def test_evaluations_say_which_is_final(tmp_path):
    log = new_log(tmp_path)
    log.evaluation(EvaluationSums(2.0, 5, 10))
    assert log.last_evaluation.rows == 10 and log.final_evaluation.rows == 0
    log.final(EvaluationSums(1.0, 9, 10))
    assert log.final_evaluation.accuracy == 0.9
    said = [(r["final"], r["loss"], r["rows"]) for r in records(tmp_path)]
    assert said == [(False, 0.2, 10), (True, 0.1, 10)]


def test_what_is_not_finite_is_null_and_every_line_is_strict_json(tmp_path):
    log = new_log(tmp_path, labels=False)
    log.train([report(steps=1, examples=10, loss_sum=math.nan)])
    log.tick(52.0)
    log.evaluation(EvaluationSums(math.inf, 0, 10, labels=False))
    assert "NaN" not in (tmp_path / "metrics.jsonl").read_text()
    assert [(r["loss"], r["accuracy"]) for r in records(tmp_path)] == [(None, None)] * 2


def test_shard_records(tmp_path):
    counts = np.zeros(256, np.int64)
    counts[[0, 3]] = 7, 1
    values = {"updates": 8, "pieces": 2, "fetches": 5, "staleness_sum": 4, "staleness_max": 3}
    log = new_log(tmp_path)
    log.shard(shard_report(1, **values, stale=1, histogram=counts))
    log.shard(shard_report(1, **values, stale=2, histogram=counts, last=1))
    first, last = records(tmp_path)
    assert (first["shard"], first["updates"], first["fetches"]) == (1, 8, 5)
    assert first["refused"] == {"stale": 1, "not_finite": 0, "too_large": 0}
    assert (first["staleness_mean"], first["staleness_max"]) == (0.5, 3)
    assert "staleness_histogram" not in first and last["staleness_histogram"] == [7, 0, 0, 1]
    assert log.shards[1]["stale"] == 2


def test_a_shard_without_updates_has_staleness_zero(tmp_path):
    log = new_log(tmp_path)
    log.shard(shard_report(0, last=1))
    assert records(tmp_path)[0]["staleness_mean"] == 0.0 and "revised_share" not in records(tmp_path)[0]
    assert histogram(shard_report(0)) == []


def test_how_much_was_revised_is_shown_of_rules_that_revise_and_goes_on_in_another_job(tmp_path):
    log = new_log(tmp_path)
    log.shard(shard_report(0, updates=4, pieces=1, revised=1.0, stepped=2.0, unknown=3))
    log.shard(shard_report(1, updates=4, pieces=1, revised=0.0, stepped=6.0))
    one, other = records(tmp_path)
    assert (one["revised_share"], one["versions_unknown"], other["revised_share"]) == (0.5, 3, 0.0)
    log.restore(log.state())
    content = summary(log, "epochs", 0)
    assert (content["revised_share"], content["versions_unknown"]) == (0.125, 6) and "revision" not in content


def test_an_update_of_the_model_is_one_of_each_piece():
    total = service(
        [
            shard_report(0, updates=30, pieces=3, staleness_sum=30, staleness_max=4, stale=1),
            shard_report(1, updates=10, pieces=1, staleness_sum=50, staleness_max=9, not_finite=2),
            shard_report(2),  # more shards than parameters
        ]
    )
    assert (total.updates, total.staleness_mean, total.staleness_max) == (10, 2.0, 9)
    assert total.refused == {"stale": 1, "not_finite": 2, "too_large": 0}
    assert service([]).updates == 0


def test_summary_has_what_was_promised(tmp_path):
    log = new_log(tmp_path)
    log.train([report(steps=5, examples=50, loss_sum=1.0, boundary_messages=3, boundary_bytes=30)])
    log.end_training(52.0)
    log.final(EvaluationSums(1.0, 9, 10))
    log.shard(shard_report(0, updates=10, pieces=2, staleness_sum=5, staleness_max=2))
    content = summary(log, "epochs", 0, {"learned": True})
    expected = {
        "learned": True,
        "stop_reason": "epochs",
        "test_accuracy": 0.9,
        "test_loss": 0.1,
        "examples_per_s": 25.0,
        "updates": 5,
        "staleness_mean": 0.5,
        "staleness_max": 2,
        "boundary_bytes": 30,
        "boundary_messages": 3,
    }
    assert expected.items() <= content.items()
    assert content["waits_s"].keys() == set(CAUSES) and content["busy_s"] == 0.0
    json.dumps(content, allow_nan=False)


def test_reports_of_shards_are_taken_once(tmp_path):
    log = new_log(tmp_path)
    log.shard(shard_report(0, recent=3))
    log.shard(shard_report(0, recent=5))
    log.shard(shard_report(1, recent=7))
    assert {shard: int(report["recent"]) for shard, report in log.take_reports().items()} == {0: 5, 1: 7}
    assert not log.take_reports() and len(log.shards) == 2


def test_the_pieces_of_a_dead_shard_are_judged_by_its_successor(tmp_path):
    log = new_log(tmp_path)
    log.shard(shard_report(0, updates=9, pieces=1, recent=50, recent_not_finite=50))
    log.reset_updates(0)
    assert [int(log.shards[0][name]) for name in ("updates", "recent", "recent_not_finite")] == [0, 0, 0]


def test_summary_of_a_run_that_learned_nothing(tmp_path):
    content = summary(new_log(tmp_path), "max_time", 0)
    assert (content["test_accuracy"], content["test_loss"], content["examples_per_s"]) == (None, None, 0.0)
    assert "not finite" in conclusion(content, tmp_path)


def test_conclusion_says_why_how_good_and_where(tmp_path):
    log = new_log(tmp_path)
    log.end_training(52.0)
    log.final(EvaluationSums(1.0, 9, 10))
    text = conclusion(summary(log, "target", 0), tmp_path)
    assert "ended by target" in text and "accuracy 90.00%" in text and str(tmp_path) in text


@pytest.mark.parametrize(
    "more, said",
    [
        ({"test_balanced_accuracy": 0.5}, "accuracy 90.00%, balanced 50.00%\n"),
        ({"test_balanced_accuracy": 0.895}, "accuracy 90.00%\n"),
        ({"test_macro_f1": 0.25}, "accuracy 90.00%, macro F1 0.2500\n"),
    ],
)
def test_conclusion_says_what_an_accuracy_would_hide(tmp_path, more, said):
    log = new_log(tmp_path)
    log.final(EvaluationSums(1.0, 9, 10))
    assert said in conclusion({**summary(log, "target", 0), **more}, tmp_path)


def test_what_other_ranks_cannot_show_is_told_once_of_each(tmp_path):
    log = new_log(tmp_path)
    for unshown in (0, 1, 2):
        log.hear(shard_report(1, unshown=unshown), "shard 1")
        log.hear(report(unshown=unshown), "replica 0 partition 2")
    log.close()
    names = [f"output of {name}: it lacks some lines" for name in ("shard 1", "replica 0 partition 2")]
    assert summary(log, "epochs", 0)["unshown"] == names
    events = [record["text"] for record in records(tmp_path) if record["kind"] == "event"]
    assert events == [f"not everything could be shown: {name}" for name in names]


def test_user_sees_progress_and_events(tmp_path):
    shown = Shown()
    log = MetricsLog(tmp_path / "metrics.jsonl", 100, True, 1.0, shown)
    log.start(0.0)
    log.evaluation(EvaluationSums(2.0, 5, 10))
    log.train([report(steps=2, examples=20, loss_sum=30.0, correct=5)])
    log.tick(2.0)
    log.event("shard 0 lost")
    log.close()
    assert shown.views == [View(2.0, 2, 20, 1.5, 0.25, 0.2, 0.5, 10.0)]
    assert shown.lines == ["shard 0 lost"] and shown.closed


def test_records_are_on_disk_while_the_run_goes_on(tmp_path):
    log = new_log(tmp_path)
    log.event("one")
    assert len(records(tmp_path)) == 1  # not closed yet


@pytest.mark.parametrize(
    ("value", "expected"), [(math.nan, None), (math.inf, None), (1.5, 1.5), (3, 3), ("a", "a"), (None, None)]
)
def test_plain(value, expected):
    assert plain(value) == expected


def test_goodput_counts_what_was_computed_and_applied(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl", 100, True, 1.0, Shown(), room=Room(2, 30.0))
    log.start(50.0)
    waits_s = [0.5 if cause is Cause.FETCH else 0.0 for cause in Cause]
    waits_s[Cause.COORDINATOR] = 3.0  # before the order
    reports = [report(examples=20, busy_s=2.0, waits_s=waits_s)]
    log.train(reports)
    assert log.applied_s == 1.5
    log.rows_lost = 5
    assert log.applied_s == 1.5 * 0.75
    log.discard(reports)
    assert log.applied_s == 0.0
    content = summary(log, "epochs", 0)
    assert content["available_s"] == pytest.approx(30.0, abs=10.0) and content["goodput"] == 0.0


def test_a_job_is_recorded_with_its_partitions(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl", 100, True, 1.0, Shown(), room=Room(2))
    log.start(50.0)
    log.job(began=True)
    (record,) = records(tmp_path)
    assert (record["kind"], record["began"], record["partitions"]) == ("job", True, 2)
    assert record["wall_s"] >= 0.0 and record["time_s"] == 0.0
    assert (record["schema"], record["replicas"]) == (VERSION, 0)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(record["at"])) < timedelta(minutes=5)
    log.job(began=False)
    assert "schema" not in records(tmp_path)[1] and "at" in records(tmp_path)[1]


def test_a_shard_s_share_of_the_time_is_that_since_its_last_record(tmp_path):
    log = new_log(tmp_path)
    for now, busy_s in ((52.0, 1.0), (54.0, 1.5), (54.0, 1.6)):
        log.at(now)
        log.shard(shard_report(0, busy_s=busy_s))
    assert [one["interval_busy"] for one in records(tmp_path)] == [0.5, 0.25, None]


def test_sums_of_a_run_of_version_1_are_not_lost(tmp_path):
    """Fetch and push were one cause then, and cores were not measured."""
    before = {"busy_s": 10.0, "waits_s": {"shards": 2.0, "states": 1.0, "coordinator": 3.0}}
    log = new_log(tmp_path)
    log.restore(replace(log.state(), partition_time=build(PartitionTime, before, "time")))
    waits_s = [1.0 if cause is Cause.PUSH else 0.0 for cause in Cause]
    log.train([report(busy_s=5.0, waits_s=waits_s, cpu_s=2.0)])
    content = summary(log, "epochs", 0)
    assert content["waits_s"] == {**dict.fromkeys(CAUSES, 0.0), "push": 1.0, **before["waits_s"]}
    assert (content["busy_s"], content["computed_s"], content["core_share"]) == (15.0, 11.0, 0.5)


def test_the_share_of_cores_is_of_the_portions_in_which_it_was_measured(tmp_path):
    log = new_log(tmp_path)
    waits_s = [1.0 if cause is Cause.FETCH else 0.0 for cause in Cause]
    for cpu_s in (0.0, 0.5, 0.0):
        log.train([report(busy_s=2.0, waits_s=waits_s, cpu_s=cpu_s, examples=1)])
    assert (log.partition_time.core_share, log.partition_time.computed_s) == (0.5, 3.0)
