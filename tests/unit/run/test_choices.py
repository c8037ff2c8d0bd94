"""What "auto" stands for: rule, rate, minibatch and warm-up."""

import tomllib
from dataclasses import replace
from typing import Any

import pytest

from dbmpi.config.load import loads
from dbmpi.config.sections import Config
from dbmpi.config.toml import to_toml
from dbmpi.layout.network import Network, build
from dbmpi.run.plan.cautions import caution
from dbmpi.run.plan.choices import carried_over, complete, told
from tests.doubles.ten_classes import load

WIDE = """model.layers=[
{type="dense", units=512, activation="relu"}, {type="dense", units=512, activation="relu"},
{type="dense", units=10}]"""


def network(config: Config, inputs: int = 64) -> Network:
    return build(config, (inputs,))


def chosen(*settings: str, inputs: int = 64, rows: int = 1437, replicas: int = 1) -> Config:
    config = load(None, settings)
    return complete(config, network(config, inputs), rows, replicas)


def test_every_auto_becomes_a_number_and_what_is_resolved_stays() -> None:
    config = chosen(rows=5000)
    assert config.downpour.rule == "adagrad"
    for value in (
        config.train.minibatch,
        config.downpour.learning_rate,
        config.downpour.schedule.warmup_epochs,
    ):
        assert type(value) in (int, float) and value > 0
    again = loads(to_toml(config).encode())
    assert again == config == complete(again, network(again), 7, 9)
    assert told(again, config) == ""


@pytest.mark.parametrize(
    ("inputs", "rows", "replicas", "minibatch", "rate", "warmup"),
    [  # the four of docs/performance.md on MNIST, and the digits
        (784, 60_000, 1, 128, 0.023, 0.21),
        (784, 60_000, 2, 128, 0.022, 0.32),
        (784, 60_000, 6, 64, 0.019, 0.37),
        (784, 60_000, 28, 32, 0.012, 0.77),
    ],
)
def test_many_replicas_take_smaller_steps_of_fewer_examples(
    inputs: int, rows: int, replicas: int, minibatch: int, rate: float, warmup: float
) -> None:
    config = chosen(WIDE, "train.epochs=8", inputs=inputs, rows=rows, replicas=replicas)
    assert config.train.minibatch == minibatch
    assert config.downpour.learning_rate == rate
    assert config.downpour.schedule.warmup_epochs == warmup


def rate(*settings: str, **shape: Any) -> float:
    return chosen(*settings, **shape).downpour.learning_rate


def test_rounds_choose_as_one_replica_whose_minibatch_is_that_of_all() -> None:
    one = chosen(rows=60_000).downpour
    rounds = chosen("train.algorithm=sync", rows=60_000, replicas=4)
    assert rounds.train.minibatch == 32
    assert rounds.downpour.learning_rate == one.learning_rate
    assert rounds.downpour.schedule.warmup_epochs == one.schedule.warmup_epochs
    assert caution(chosen("train.algorithm=sync", "downpour.rule=adam", replicas=20), 20) == ""


def test_the_rate_falls_with_the_connections_of_a_unit_and_rises_with_the_rows() -> None:
    assert rate(inputs=10, rows=300) == rate(inputs=128, rows=1000) == 0.05
    assert rate(inputs=1280, rows=300) == pytest.approx(0.005)
    assert rate(inputs=10, rows=16_000) == pytest.approx(0.1)
    assert rate(inputs=10, rows=10**9) == pytest.approx(0.2)
    assert rate("model.loss=squared", inputs=10, rows=300) == 0.03


TABLE = "data.scaling=columns"


def test_the_rate_of_a_table_falls_with_the_epochs_beyond_a_few_unless_its_columns_are_many() -> None:
    few = rate(TABLE, "train.epochs=8", inputs=10, rows=500)
    assert few == rate("train.epochs=40", inputs=10, rows=500) == 0.05  # pixels
    assert rate(TABLE, "train.epochs=40", inputs=10, rows=500) == pytest.approx(few / 5)
    assert rate(TABLE, "train.steps=1250", inputs=10, rows=500) == pytest.approx(few / 5)
    assert rate(TABLE, "train.epochs=none", "train.max_time=9", inputs=10, rows=500) == few
    assert rate(TABLE, "train.epochs=40", inputs=10, rows=100) == pytest.approx(0.8 * few)  # 250 updates
    assert rate(TABLE, inputs=1280, rows=500) == rate(inputs=1280, rows=500) == pytest.approx(few / 10)
    assert rate(TABLE, "downpour.rule=sgd") == rate("downpour.rule=sgd")


def test_each_rule_has_a_rate_of_its_own() -> None:
    assert rate("downpour.rule=adam", rows=300) == 0.0025
    assert rate("downpour.rule=sgd") == 0.1 and rate("downpour.rule=momentum") == pytest.approx(0.01)
    assert rate("downpour.rule=sgd", "model.loss=squared") == 0.01


def test_a_rule_for_late_gradients_needs_no_lower_rate_for_many_replicas() -> None:
    rates = [chosen("downpour.rule=adarevision", replicas=r).downpour.learning_rate for r in (1, 28)]
    assert rates[0] == rates[1] == 2 * chosen().downpour.learning_rate


def test_a_rate_that_is_given_is_of_adagrad_where_no_rule_is() -> None:
    config = chosen("downpour.learning_rate=0.3")
    assert (config.downpour.rule, config.downpour.learning_rate) == ("adagrad", 0.3)


@pytest.mark.parametrize(
    ("settings", "longest"),
    [
        (["train.epochs=2"], 0.2),
        (["train.steps=90"], 90 * 16 / 1437 / 10),
        (["train.epochs=none", "train.max_time=9"], 1),
    ],
)
def test_the_warmup_is_a_small_share_of_the_run(settings: list[str], longest: float) -> None:
    config = chosen(*settings, replicas=28)
    assert config.downpour.schedule.warmup_epochs == pytest.approx(longest, rel=0.05)


def test_a_batch_method_has_minibatches_for_its_portions() -> None:
    batch = "train.algorithm=sandblaster"
    assert chosen(batch, rows=60_000).train.minibatch == 256
    assert chosen(batch, rows=1437, replicas=2).train.minibatch == 32
    assert chosen(batch, "sandblaster.warmstart_examples=100").train.minibatch == chosen().train.minibatch
    assert told(load(None, [batch]), chosen(batch)) == "train.minibatch = 64"


def test_a_run_that_goes_on_keeps_what_was_chosen() -> None:
    saved = chosen(rows=60_000, replicas=28)
    assert carried_over(load(None), saved).downpour == saved.downpour
    config = carried_over(load(None, ["train.minibatch=7"]), saved)
    assert config == replace(config, train=replace(config.train, minibatch=7))
    assert tomllib.loads(to_toml(config))["downpour"]["learning_rate"] == saved.downpour.learning_rate


@pytest.mark.parametrize("other", ["train.algorithm=sync", "downpour.average=2"])
def test_a_run_goes_on_in_rounds_without_the_rule_for_late_gradients(other: str) -> None:
    config = load(None, [other])
    after = complete(carried_over(config, chosen("downpour.rule=adarevision")), network(config), 1437, 2)
    assert after.downpour.rule == "adagrad" and loads(to_toml(after).encode()) == after


def test_another_algorithm_does_not_take_the_minibatch_of_the_first() -> None:
    saved = chosen("train.algorithm=sandblaster", "train.minibatch=256")
    assert carried_over(load(None), saved).train.minibatch == "auto"
    assert carried_over(load(None, ["train.algorithm=sandblaster"]), saved).train.minibatch == 256


def test_another_rule_does_not_take_the_rate_of_the_first() -> None:
    config = carried_over(load(None, ["downpour.rule=adam"]), chosen("downpour.learning_rate=0.3"))
    assert config.downpour.rule == "adam" and config.downpour.learning_rate == "auto"
    kept = carried_over(
        load(None, ["downpour.rule=adam"]), chosen("downpour.rule=adam", "downpour.learning_rate=0.3")
    )
    assert kept.downpour.learning_rate == 0.3


@pytest.mark.parametrize("rule", ["momentum", "adam"])
def test_rules_that_old_gradients_lead_astray_are_warned_of(rule: str) -> None:
    config = chosen(f"downpour.rule={rule}")
    assert caution(config, 8) == "" and f'"{rule}" with 28 replicas' in caution(config, 28)
    assert caution(chosen(), 28) == caution(chosen("train.algorithm=sandblaster"), 28) == ""


def test_what_was_chosen_is_told() -> None:
    given = load(None, ["train.minibatch=9"])
    text = told(given, complete(given, network(given), 1000, 1))
    assert text == (
        "downpour.rule = adagrad, downpour.learning_rate = 0.05, downpour.schedule.warmup_epochs = 0.9"
    )
