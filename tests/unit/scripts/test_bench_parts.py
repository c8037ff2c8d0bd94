"""scripts/bench: what single parts make of runs. Runs nothing, but two short ones of the part `defaults`."""

import subprocess
import sys
import wave

import h5py
import numpy as np
import pytest

from scripts.bench import kinds, spoken, spoken_runs, tables, torch_ways
from scripts.bench.core import Options, Skipped, require_data
from scripts.bench.parts import accuracy, defaults, rates, replicas, rules, sets, speech, sync
from scripts.bench.rounds import measure
from tests import ROOT


@pytest.fixture
def options(tmp_path):
    return Options(tmp_path)


def test_examples_to_an_accuracy_of_pytorch():
    found = {"curve": [[6000, 0.5, 0.9], [12_000, 1.0, 0.975], [18_000, 1.5, 0.97]]}
    assert torch_ways.examples_to(found, 0.975) == 12_000 and torch_ways.examples_to(found, 0.98) == float(
        "inf"
    )


def test_what_accuracy_repeats_has_been_tried_by_rates():
    for ways in accuracy.CHOSEN.values():
        assert [rule for rule, _ in ways] == list(torch_ways.RATES)
        assert all(rate in torch_ways.RATES[rule] for rule, rate in ways)


def test_the_best_of_ours_is_compared_with_the_best_of_pytorch(options, monkeypatch):
    seconds = {"serial, 2 threads": 3.0, "sync, 2 replicas": 1.0}
    monkeypatch.setattr(accuracy, "ours", lambda options, name, seed: {name: seconds.get(name, 9.0)})
    theirs = {"momentum": 4.0, "adagrad": 5.0, "adam": 6.0}
    monkeypatch.setattr(
        accuracy, "theirs", lambda options, kind, seed: {f"{kind} {rule}": s for rule, s in theirs.items()}
    )
    first = measure(accuracy.groups(options), 1, 1e9)["rows"][0]
    assert first["name"] == "the best to 97.5%: sync, 2 replicas"
    assert (first["ratio"]["median"], first["met"]) == (0.25, True)


def test_rates_are_told_one_by_one(options, monkeypatch):
    curve = {"curve": [[6000, 0.5, 0.98]]}
    monkeypatch.setattr(torch_ways, "train", lambda data, kind, ways, seed, **more: [curve] * len(ways))
    rows = measure(rates.groups(options), 1, 1e9)["rows"]
    assert len(rows) == 18 and all(row["figure"]["median"] == 6000 for row in rows)


def test_replicas_are_compared_with_a_serial_run_of_their_seed(tmp_path, monkeypatch):
    ran = []

    def run(folder, ranks, settings):
        ran.append(ranks)
        seed = int(next(one for one in settings if one.startswith("train.seed=")).partition("=")[2])
        score = 0.98 + seed / 1000 - (ranks > 1) * 0.002
        return {"test_accuracy": score, "examples_per_s": 1.0, "staleness_mean": 3.0}

    monkeypatch.setattr(replicas.runs, "run", run)
    rows = measure(replicas.groups(Options(tmp_path, data=tmp_path)), 2, 1e9)["rows"]
    assert ran == [1, 4, 6, 8, 30] + [1, 4, 6, 8, 30]
    lost = [row for row in rows if row["name"].endswith("below serial")]
    assert [row["met"] for row in lost] == [True] * 4
    assert all(row["figure"]["mean"] == pytest.approx(0.2) for row in lost)


def test_without_mnist_replicas_are_skipped(options):
    with pytest.raises(Skipped, match="--data"):
        require_data(options)


def records(*losses, rows=rules.DIGITS // 3):
    return [{"examples": (n + 1) * rows, "loss": loss} for n, loss in enumerate(losses)]


def test_the_loss_of_an_epoch_is_that_of_its_records():
    third = rules.DIGITS // 3
    assert list(rules.epoch_means(records(3.0, 2.0, 1.0, 0.0))) == [(3 * third, 2.0), (4 * third, 1.0)]
    assert rules.examples_to(records(3.0, 2.0, 1.0, 0.0), 1.5) == 4 * third
    assert rules.examples_to(records(3.0, 2.0, None, 0.0), 1.5) == float("inf")


def test_the_best_rate_counts(options, monkeypatch):
    epochs = []

    def trained(options, ranks, settings, most, seed):
        epochs.append(most)
        rate = float(settings[-1].partition("=")[2])
        return records(*[1.0] * 6, *[0.0] * 9) if rate == 0.01 else records(*[1.0] * 15), {
            "staleness_mean": 2.0
        }

    monkeypatch.setattr(rules, "trained", trained)
    best = rules.fewest(options, 28, rules.BASE, lambda seed: 0.4, 1)
    assert best == {
        rules.BASE: rules.DIGITS // 3 * 8,
        f"{rules.BASE} rate": 0.01,
        f"{rules.BASE} staleness": 2.0,
    }
    assert epochs == [rules.MOST_EPOCHS] * 5


def test_sync_has_both_aims(options):
    (group,) = sync.groups(options)
    assert [row.aim and row.aim.at_least for row in group.rows] == [3.3, 1.5, None]


def test_the_winner_is_chosen_on_other_splits_than_it_is_compared_on(options, monkeypatch):
    def score(options, table, way, seed):
        lucky = "downpour.learning_rate=0.1" in way and "downpour.rule=adagrad" in way
        chosen = 99.0 if lucky else 90.0
        return (98.0 if not way else chosen) if seed in defaults.COMPARED_ON else chosen

    monkeypatch.setattr(defaults, "score", score)
    (table,) = [one for one in tables.TABLES if one.name == "wine"]
    found = defaults.compared(options, table)
    assert found == {"behind": 1.0, "allowed": 1.0, "defaults": 98.0, "adagrad 0.1": 99.0}
    rows = [row for group in defaults.groups(options) if group.name == "wine" for row in group.rows]
    assert "{best}" in rows[2].name and found["behind"] <= rows[0].aim.at_most * found["allowed"]


def test_a_split_is_standardized_by_what_is_learned_from(options):
    x, y = np.arange(80.0).reshape(40, 2), np.arange(40.0)
    table = tables.Table("own", lambda options: (x, y), (), 1, labels=False)
    paths = [tables.write(table, options, seed) for seed in (1, 2, 1)]
    assert paths[0] == paths[2] != paths[1]
    with h5py.File(paths[0]) as file:
        train, test = file["train/x"][:], file["test/x"][:]
        assert train.shape == (30, 2) and test.shape == (10, 2) and file["train/y"].shape == (30, 1)
    assert np.allclose(train.mean(0), 0, atol=1e-6) and np.allclose(train.std(0), 1, atol=1e-6)


def test_sets_are_compared_split_by_split(options, monkeypatch):
    def split(options, kind, ranks, seed):
        return {"accuracy": 0.9 + seed / 1000}, {"accuracy": 0.9 + seed / 1000 + 0.01 * (seed % 2)}

    monkeypatch.setattr(sets, "require", lambda *words: None)
    monkeypatch.setattr(sets, "split", split)
    wine = next(kind for kind in kinds.KINDS if "wine" in kind.name)
    row = measure([sets.group(options, wine, 1)], 1, 1e9)["rows"][0]
    assert row["figure"]["mean"] == pytest.approx(0.5)  # five of ten splits by a point
    assert row["against"]["mean"] == pytest.approx(2 * 0.527 / 10**0.5, rel=1e-3) and row["met"] is False


def test_arrays_of_others_are_split_and_prepared_as_they_are(options, tmp_path):
    x, y = np.arange(80.0).reshape(40, 2), np.repeat(["a", "b"], 20)
    with h5py.File(kinds.of_arrays(lambda options: (x, y), 24)(options, 1, tmp_path)) as file:
        rows = np.concatenate([file["train/x"][:], file["test/x"][:]])
        assert (
            len(file["test/x"]) == 6 and len(np.unique(rows[:, 0])) == 24 and set(rows[:, 0]) <= set(x[:, 0])
        )
        assert list(file["train/y"].attrs["class_names"]) == ["a", "b"]


LEARN = """
import sys
from pathlib import Path
from scripts.bench import core, tables
from scripts.bench.parts import defaults

(digits,) = [one for one in tables.TABLES if one.name == "digits"]
short = tables.Table("short", digits.load, digits.settings, 2)
options = core.Options(Path(sys.argv[1]))
print(*(defaults.score(options, short, way, 1) for way in ([], defaults.WAYS["adagrad 0.03"])))
"""


def test_one_process_trains_with_the_defaults_and_then_with_others(tmp_path):
    command = [sys.executable, "-c", LEARN, tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert all(float(score) > 50 for score in done.stdout.split()) and len(done.stdout.splitlines()) == 1


def recordings(folder, frames):
    """Write a recording to learn from and some to test with, 80 samples a frame, of noise; return them."""
    folder.mkdir()
    for name, count in {
        "a_x_9": 30,
        "b_x_9": 30,
        **{f"a_x_{n}": count for n, count in enumerate(frames)},
    }.items():
        with wave.open(str(folder / f"{name}.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            noise = np.random.default_rng(len(name) + count).normal(size=200 + 80 * (count - 1))
            file.writeframes((3000 * noise).astype(np.int16).tobytes())
    return folder


def test_frames_that_are_right_are_counted_by_recording(tmp_path):
    options = Options(tmp_path, recordings=recordings(tmp_path / "wav", (12, 30, 21)))
    model = tmp_path / "model.h5"
    with h5py.File(model, "w") as file:
        file.attrs["scale"], file.attrs["offset"] = np.ones(440), np.zeros(440)
        for layer, (units, below) in enumerate(((4, 440), (6, 4))):
            file[f"layers.{layer}.weight"] = np.zeros((units, below))
            file[f"layers.{layer}.bias"] = np.arange(units) % 2 * (np.arange(units) < 2)  # always "a 2/3"
    assert spoken.frames(options).tolist() == [12, 30, 21]
    assert spoken.right(options, model).tolist() == [4, 10, 7]


def test_the_error_is_that_of_recordings_not_of_frames():
    frames = np.full(50, 40)
    whole = 40 * (np.arange(50) < 25)  # all frames of a recording are right, or none
    assert spoken.standard_error(whole, frames) == pytest.approx(0.5 / 49**0.5)
    assert spoken.standard_error(np.full(50, 10), frames) == 0


def test_replicas_are_compared_with_serial_runs_of_their_seeds_by_recording(options, monkeypatch):
    ran = []

    def downpour(options, settings, replicas, seed):
        ran.append((replicas, seed))
        lost = [0, 2] if replicas else [0, 0]
        return spoken_runs.Trained(np.array([80, 60]) + seed - lost, {"examples_per_s": 1.0 + replicas}, {})

    monkeypatch.setattr(spoken_runs, "downpour", downpour)
    monkeypatch.setattr(spoken, "frames", lambda options: np.array([100, 100]))
    two = next(speech.groups(options))
    lost, error, accuracy, serial, rate = measure([two], 1, 1e9)["rows"][:5]
    assert sorted(ran) == [(replicas, seed) for replicas in (0, 2) for seed in (1, 2, 3)]
    assert (lost["figure"]["mean"], lost["met"]) == (pytest.approx(1), True)
    assert error["figure"]["mean"] == pytest.approx(1)
    assert serial["figure"]["mean"] - accuracy["figure"]["mean"] == pytest.approx(1)
    assert rate["ratio"]["mean"] == 3


def test_losses_are_compared_iteration_by_iteration():
    losses = {"serial": (3.0, 2.0, 1.0), "2 replicas": (3.0, 2.0002, 1.0)}
    found = speech.apart(
        lambda name: [{"loss": one, "examples_per_s": 1.0} for one in losses[name]], "2 replicas"
    )
    assert found["2 replicas"] == pytest.approx(1e-4)


def test_without_the_recordings_speech_is_skipped(options):
    rows = measure(speech.groups(options), 1, 1e9)["rows"]
    assert {row["status"] for row in rows} == {"skipped"} and "--recordings" in rows[0]["why"]
