"""Whole training runs: what they write, that its numbers are right, and every way to configure them."""

import json
import platform
import re

import h5py
import numpy as np
import pytest

from dbmpi.config import load as settings
from dbmpi.data import digits
from dbmpi.layout import network
from dbmpi.layout.partitioning import Partitioning, Traffic
from dbmpi.output.schema import RUN
from tests.doubles.record_fields import wrong
from tests.system.conftest import launch_in
from tests.system.reading import QUIET, messages, outputs, parameters, records, split, summary

RELU = ["relu", "identity"]  # of the default layers
KEYS = {
    "stop_reason", "status", "test_accuracy", "test_loss", "examples_per_s", "wall_s", "train_s", "steps",
    "examples", "updates", "staleness_mean", "staleness_max", "boundary_bytes", "boundary_messages",
    "refused", "first_loss", "chance_loss", "learned", "diverged_by",
}  # fmt: skip


def planned(run, partitions, examples, steps):
    """Return the boundary traffic that the plan of a run's network gives for all its minibatches."""
    config = settings.load(run / "config.toml")
    plan = Partitioning(network.build(config, 64), partitions)
    each = sum((plan.traffic(p, 1, 4) for p in range(partitions)), Traffic(0, 0))
    return each.messages * steps, each.bytes * examples


def cross_entropy(logits, labels):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]))


@pytest.fixture(scope="module")
def eight(environment, tmp_path_factory):
    """A run of the digits on 8 ranks, started from another directory; its directory, and what it printed."""
    directory = tmp_path_factory.mktemp("eight")
    done = launch_in(environment, directory)(
        8, "--set", "train.epochs=4", "cluster.partitions=2", "output.every_s=0.05", "--run-dir", "out/run"
    )
    assert done.status == 0, done
    return directory / "out" / "run", done


@pytest.mark.both_mpis
def test_eight_ranks_train_and_say_so(eight):
    run, done = eight
    assert messages(done) == []
    assert "8 ranks = 1 coordinator + 1 shard + 3 replicas x 2 partitions" in done.out
    assert "asynchronous" in done.out and "ended by epochs" in done.out and str(run) in done.out
    assert summary(run)["test_accuracy"] > 0.9
    assert sorted(path.name for path in run.iterdir()) == [
        ".owner", "checkpoints", "config.toml", "finished", "metrics.jsonl", "model.h5", "run.json",
        "summary.json",
    ]  # fmt: skip


def test_summary(eight):
    run, _ = eight
    content = summary(run)
    assert content.keys() >= KEYS
    assert content["stop_reason"] == "epochs" and content["status"] == 0
    assert content["examples"] >= 4 * 1437
    assert 0 < content["updates"] <= content["steps"]
    assert content["staleness_max"] >= content["staleness_mean"] >= 0
    assert content["wall_s"] > content["train_s"] > 0
    assert content["examples_per_s"] == pytest.approx(content["examples"] / content["train_s"])


def test_metrics_have_the_four_fields_in_every_record(eight):
    run, _ = eight
    every = records(run)
    assert all({"kind", "time_s", "step", "examples"} <= record.keys() for record in every)
    assert {record["kind"] for record in every} >= {"train", "eval", "shard"}
    trained = records(run, "train")
    assert all(record["gradient_norm"] > 0 and record["learning_rate"] > 0 for record in trained)
    for earlier, later in zip(trained, trained[1:], strict=False):
        assert later["examples"] > earlier["examples"] and later["time_s"] >= earlier["time_s"]
    assert trained[-1]["examples"] == summary(run)["examples"]
    final = records(run, "eval")[-1]
    assert final["final"] and final["rows"] == 360 and final["accuracy"] == summary(run)["test_accuracy"]
    assert sum(map(sum, final["confusion"])) == 360 and "confusion" not in records(run, "eval")[0]
    last = records(run, "shard")[-1]
    assert sum(last["staleness_histogram"]) == last["updates"]


def test_clients_see_the_same_staleness_as_shards(eight):
    """But for the last pushes: a client need not wait for their replies before it has reported."""
    run, _ = eight
    content, (of_replicas,) = summary(run), records(run, "replicas")
    assert content["replicas"]["learned"] == of_replicas["learned"]
    assert sum(of_replicas["learned"]) == content["examples"]
    assert max(of_replicas["staleness_max"]) <= content["staleness_max"]
    means = np.average(of_replicas["staleness_mean"], weights=of_replicas["pushes"])
    assert means == pytest.approx(content["staleness_mean"], rel=0.05)
    assert sum(of_replicas["computed_s"]) == pytest.approx(content["computed_s"])
    assert 0 < content["core_share"] <= 1


def test_run_json_says_who_did_what(eight):
    run, _ = eight
    content = json.loads((run / "run.json").read_text())
    assert content["seed"] == 1
    assert content["versions"].keys() >= {"dbmpi", "python", "numpy", "numba", "mpi4py", "h5py"}
    roles = [rank["role"] for rank in content["ranks"]]
    replicas = [f"replica {r} partition {p}" for r in range(3) for p in range(2)]
    assert roles == ["coordinator", "shard 0", *replicas]
    assert all(rank["host"] and rank["threads"] >= 1 for rank in content["ranks"])
    assert list(wrong(content, RUN)) == []
    assert [(node["ranks"], node["host"]) for node in content["nodes"]] == [(8, content["ranks"][0]["host"])]
    assert content["crowded"] == (content["nodes"][0]["cores"] < 8)
    assert re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", content["ranks"][0]["cores"])


def test_numpy_alone_gets_the_summary_s_numbers_from_the_saved_model(eight):
    run, _ = eight
    x, labels = split(digits.located("digits"), "test")
    logits = outputs(run, x, RELU)
    content = summary(run)
    assert content["test_accuracy"] == pytest.approx(np.mean(logits.argmax(axis=1) == labels), abs=1e-9)
    assert content["test_loss"] == pytest.approx(cross_entropy(logits, labels), rel=1e-5)


def test_model_file_explains_itself(eight):
    run, _ = eight
    shapes = {name: value.shape for name, value in parameters(run).items()}
    assert shapes == {
        "layers.0.weight": (128, 64),
        "layers.0.bias": (128,),
        "layers.1.weight": (10, 128),
        "layers.1.bias": (10,),
    }
    with h5py.File(run / "model.h5") as file:
        assert file.attrs["configuration"] == (run / "config.toml").read_text()
        assert "numpy" in json.loads(file.attrs["versions"])


@pytest.mark.both_mpis
def test_boundary_traffic_is_that_of_the_plan(eight):
    run, _ = eight
    content = summary(run)
    found = content["boundary_messages"], content["boundary_bytes"]
    assert found == planned(run, 2, content["examples"], content["steps"]) and found[0] > 0
    traffic = json.loads((run / "run.json").read_text())["traffic"]
    each, whole = traffic["boundary_bytes_per_example"], traffic["shared_bytes_per_minibatch"]
    assert found[1] == content["examples"] * sum(map(sum, each)) + content["steps"] * sum(map(sum, whole))
    assert sum(map(sum, traffic["shard_bytes"])) == 4 * sum(map(np.size, parameters(run).values()))


def test_resolved_configuration_can_be_given_back(eight, launch, tmp_path):
    run, _ = eight
    done = launch(4, run / "config.toml", "--set", "train.epochs=0.5", "--run-dir", "again")
    assert done.status == 0, done
    changed = (run / "config.toml").read_text().replace("epochs = 4.0", "epochs = 0.5", 1)
    assert (tmp_path / "again" / "config.toml").read_text() == changed
    content = summary(tmp_path / "again")
    assert content["stop_reason"] == "epochs" and 0.5 * 1437 <= content["examples"] < 0.5 * 1437 + 16


# One train record: of all that is learned.
STEPS = (
    "--set", "train.steps=40", "evaluation.every_epochs=0", "output.every_s=1000", "output.every_examples=0",
)  # fmt: skip


@pytest.mark.both_mpis
def test_one_replica_repeats_bitwise_and_equals_serial(launch, tmp_path):
    for n, name in [(0, "serial"), (3, "a"), (3, "b"), (4, "c"), (4, "d")]:
        shape = ["cluster.replicas=1", f"cluster.partitions={2 if n == 4 else 1}"]
        done = launch(n, *STEPS, *shape, "--run-dir", name)
        assert done.status == 0 and "ended by steps" in done.out
        content = summary(tmp_path / name)
        assert content["stop_reason"] == "steps" and content["steps"] == 40
        assert (tmp_path / name / "finished").exists()
    models = {name: parameters(tmp_path / name) for name in ("serial", "a", "b", "c", "d")}
    for key, serial in models["serial"].items():
        for one, two in ("ab", "cd"):
            np.testing.assert_array_equal(models[one][key], models[two][key], err_msg=key)
        for name in "ac":
            np.testing.assert_allclose(models[name][key], serial, rtol=2e-4, atol=2e-5, err_msg=key)
    first = {name: records(tmp_path / name, "train")[0]["loss"] for name in models}
    assert max(first.values()) - min(first.values()) < 1e-5


def test_limits_say_why_the_run_ended(launch, tmp_path):
    """And so do other tests, of `steps` and `epochs`."""
    for reason, limit, status in [
        ("max_time", ["train.max_time=0.3", "train.epochs=none"], 85),
        ("target", ["train.target.accuracy=0.5"], 0),
    ]:
        done = launch(3, "--set", *limit, "--run-dir", reason)
        content = summary(tmp_path / reason)
        assert (done.status, content["stop_reason"]) == (status, reason)
        assert (tmp_path / reason / "finished").exists() is (status == 0)
        assert f"ended by {reason}" in done.out
    assert 0.3 <= summary(tmp_path / "max_time")["train_s"] < 5


WAYS = {
    "sgd-bfloat16-threads": "downpour.rule=sgd downpour.learning_rate=0.1 downpour.wire=bfloat16"
    " cluster.threads=2",
    "momentum-schedule": "downpour.rule=momentum downpour.learning_rate=0.02 downpour.schedule.kind=cosine"
    " downpour.schedule.warmup_epochs=0.2 downpour.schedule.decay_epochs=4",
    "adam-float16-logistic": "downpour.rule=adam downpour.learning_rate=0.005 downpour.wire=float16"
    " model.loss=logistic",
    "staleness-squared-float64": "downpour.max_staleness=2 model.loss=squared model.dtype=float64"
    " cluster.partitions=2 cluster.replicas=2",
    "accrual-warmstart-penalty": "downpour.n_fetch=3 downpour.n_push=2 downpour.warmstart.steps=30"
    " downpour.warmstart.time=0.2 model.l2=1e-4 downpour.overlap=true",
    "adarevision-overlap-accumulator": "downpour.rule=adarevision downpour.learning_rate=0.05"
    " downpour.initial_accumulator=0.001 downpour.schedule.kind=linear downpour.schedule.decay_epochs=4"
    " downpour.overlap=true downpour.wire=bfloat16",
    "shards-portions": "cluster.shards=3 train.portion=2 train.minibatch=10 evaluation.minibatch=77"
    " evaluation.every_s=0.1",
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_configure_learns(launch, tmp_path, way):
    settings = WAYS[way]
    waiting = "downpour.overlap=false"  # fresh parameters, however busy the machine is
    done = launch(6, "--set", waiting, *settings.split(), "train.epochs=4", *QUIET, "--run-dir", "run")
    assert done.status == 0 and messages(done) == []
    content = summary(tmp_path / "run")
    assert content["test_accuracy"] > 0.85
    x, labels = split(digits.located("digits"), "test")
    found = outputs(tmp_path / "run", x, RELU)
    assert content["test_accuracy"] == pytest.approx(np.mean(found.argmax(axis=1) == labels), abs=1e-9)
    assert content["refused"]["not_finite"] == 0
    if "max_staleness=2" in settings:
        assert content["staleness_max"] <= 2
    if "adarevision" in settings:
        assert 0 < content["revised_share"] < 1 and content["versions_unknown"] == 0


def test_ranks_left_over_more_shards_and_partitions_than_there_is_to_share(launch, tmp_path):
    layers = 'model.layers=[{type="dense",units=2,activation="tanh"},{type="dense",units=10}]'
    shape = ("cluster.shards=3", "cluster.replicas=1", "cluster.partitions=3")
    done = launch(8, "--set", layers, *shape, "train.epochs=1", *QUIET, "--run-dir", "run")
    assert done.status == 0 and "left over, without work: ranks 7" in done.out
    content = summary(tmp_path / "run")
    assert (content["boundary_messages"], content["boundary_bytes"]) == planned(
        tmp_path / "run", 3, content["examples"], content["steps"]
    )


@pytest.mark.both_mpis
def test_float_targets_tiny_model_and_more_shards_than_parameters(launch, tmp_path):
    generator = np.random.default_rng(5)
    with h5py.File(tmp_path / "line.h5", "w") as file:
        for name, rows in (("train", 400), ("test", 101)):
            x = generator.normal(size=(rows, 3)).astype(np.float32)
            file[f"{name}/x"], file[f"{name}/y"] = x, x @ np.array([[1.0], [-2.0], [0.5]], np.float32) + 3
    done = launch(
        5, "--set", "data.path=line.h5", "model.layers=[{type='dense',units=1}]", "model.loss=squared",
        "train.epochs=20", "downpour.learning_rate=0.3", "cluster.shards=3", "data.scaling=none", *QUIET,
        "--run-dir", "run",
    )  # fmt: skip
    assert done.status == 0, done
    content = summary(tmp_path / "run")
    assert content["test_accuracy"] is None and content["test_loss"] < 0.01
    x, y = split(tmp_path / "line.h5", "test")
    squares = (outputs(tmp_path / "run", x, ["identity"]) - y) ** 2
    assert content["test_loss"] == pytest.approx(0.5 * squares.sum(axis=1).mean(), rel=1e-4)


IMAGE_LAYERS = (
    'model.layers=[{type="conv", filters=6, size=3, padding=1, activation="relu"}, '
    '{type="pool", kind="max", size=2, stride=2}, {type="local", filters=6, size=3, activation="tanh"}, '
    '{type="lcn", size=3}, {type="dropout", rate=0.1}, {type="dense", units=10}]'
)


def test_image_network_learns_on_tiles_and_equals_serial(launch, tmp_path):
    """Shared, local and no weights at all; one replica, so that it repeats; the same masks on any split.

    One thread: variants for more would take half a minute to compile, and have their tests in tests/unit.
    """
    common = ("model.dtype=float64", "downpour.learning_rate=0.05", "cluster.threads=1", *QUIET)
    for ranks, name, tiles in ((0, "serial", ()), (6, "tiles", ("cluster.replicas=1", "cluster.grid=[2,2]"))):
        settings = ("--set", IMAGE_LAYERS, *common, *tiles, "train.epochs=2")
        done = launch(ranks, *settings, "--run-dir", name, timeout=300)
        assert done.status == 0 and messages(done) == []
    serial, tiled = summary(tmp_path / "serial"), summary(tmp_path / "tiles")
    assert serial["test_accuracy"] > 0.85
    assert tiled["test_accuracy"] == serial["test_accuracy"]
    assert tiled["boundary_messages"] > 0 == serial["boundary_messages"]
    with h5py.File(tmp_path / "serial/model.h5") as one, h5py.File(tmp_path / "tiles/model.h5") as other:
        assert (
            set(one)
            == set(other)
            == {"layers.0.weight", "layers.0.bias"}
            | {f"layers.{layer}.{kind}" for layer in (2, 5) for kind in ("weight", "bias")}
        )
        for name in one:
            np.testing.assert_allclose(other[name][:], one[name][:], rtol=1e-6, atol=1e-8)


def test_no_numpy_before_the_threads_are_chosen(launch):
    """Its BLAS reads the number when it is loaded; with more, ranks would take the cores from one another."""
    for ranks in (0, 3):
        done = launch(ranks, "--set", "train.steps=1", module="tests.system.early")
        assert done.status == 0, done


def test_a_role_loads_what_it_uses(launch):
    """Rank 0 alone reads TOML, and sends the others what it says; no rank has Numba where all is compiled."""
    for _ in range(2):  # the first may compile
        done = launch(3, "--set", "train.steps=1", "cluster.threads=1", module="tests.system.early")
    lines = re.findall(r"(?m)^rank (\d): (.*)$", done.out)
    loaded = {int(rank): json.loads(names) for rank, names in lines}
    if platform.machine() != "x86_64":  # no images of kernels
        loaded = {
            rank: [name for name in names if "." in name or name == "tomllib"]
            for rank, names in loaded.items()
        }
    assert loaded[1] == loaded[2] == []
    assert loaded[0] == ["tomllib", "dbmpi.config.load", "dbmpi.config.source", "dbmpi.config.values"]
