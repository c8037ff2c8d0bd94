"""Each question at the edges of its thresholds, on records made for it."""

import pytest

from tests.unit.diagnosis.doubles import about, record, train

FALLING = [2.0, 1.5, 1.0, 0.8, 0.6, 0.5, 0.4, 0.3]
KNOWN = {"first_loss": 2.4, "chance_loss": 2.3}


def severities(found):
    return [one.severity for one in found]


@pytest.mark.parametrize(
    ("losses", "severity"),
    [
        (FALLING, "good"),
        ([2.3] * 8, "bad"),  # chance
        ([2.29] * 8, "bad"),  # by less than a hundredth below
        ([2.2] * 8, "note"),  # little
        ([2.0, 1.0, 0.5, 0.5, 0.5, 0.75, 0.75, 0.75], "warning"),  # a tenth of chance up
        ([2.0, 1.0, 0.5, 0.5, 0.5, 1.75, 1.75, 1.75], "bad"),  # half of it
        ([2.0, 1.0, 0.5, 0.5, 0.5, 0.6, 0.6, 0.6], "good"),
        ([2.0, 1.0, None, None, None], "bad"),
        ([1.0, 0.9], "note"),  # too little
    ],
)
def test_the_course_of_the_loss(losses, severity):
    assert severities(about("learning", train(losses), summary=KNOWN)) == [severity]


def test_chance_is_known_by_the_classes_while_a_run_goes_on():
    text = '[model]\nloss = "softmax"\nlayers = [{type = "dense", units = 10}]\n'
    assert severities(about("learning", train([2.302] * 8), text, ended=False)) == ["bad"]
    assert severities(about("learning", train([2.0] * 8), text, ended=False)) == ["good"]


def test_in_the_first_epoch_nothing_is_said_of_a_loss_like_chance():
    early = [one | {"epoch": 0.5} for one in train([2.3] * 8)]
    assert severities(about("learning", early, summary=KNOWN)) == ["note"]


def evaluated(*losses):
    return [record("eval", i, 100 * i, loss=loss, accuracy=0.5) for i, loss in enumerate(losses, 1)]


def test_learning_by_heart_is_a_held_out_loss_that_rises():
    assert about("learning", [*train(FALLING), *evaluated(1.0, 1.22)], summary=KNOWN)[0].severity == "good"
    found = about("learning", [*train(FALLING), *evaluated(1.0, 1.24)], summary=KNOWN)
    assert severities(found) == ["warning"] and "train.patience" in found[0].remedy


def test_parameters_that_are_no_good_though_replicas_do_well_are_no_learning_by_heart():
    records = [*train(FALLING, staleness_mean=20.0), *evaluated(2.0, 5.0)]
    assert about("learning", records, summary=KNOWN)[0].severity == "bad"
    assert about("staleness", records, summary=KNOWN)[0].severity == "bad"


@pytest.mark.parametrize(
    ("losses", "severity"),
    [
        (FALLING, []),
        ([4.7, *FALLING], []),
        ([4.9, *FALLING], ["warning"]),  # more than twice the first loss
        ([4.9, *[2.4] * 8], ["bad"]),
        ([1.0, 0.5, 0.2, 0.8, 0.2, 0.8, 0.2, 0.8, 0.2, 0.8], ["warning"]),  # swings
    ],
)
def test_what_a_high_rate_does_to_the_loss(losses, severity):
    found = about("rate", train(losses), summary=KNOWN)
    assert severities(found) == severity
    assert all("downpour.learning_rate" in one.remedy for one in found)


def shard(time_s, updates, **refused):
    counts = {"stale": 0, "not_finite": 0, "too_large": 0} | refused
    return record("shard", time_s, shard=0, updates=updates, refused=counts, busy_s=0.1 * time_s)


def test_a_gradient_that_vanishes_where_nothing_is_learned_has_met_dead_units():
    norms = [1.0, 0.1, 1e-5, 1e-5, 1e-5, 1e-5]
    lines = [one | {"gradient_norm": norm} for one, norm in zip(train([2.4] * 6), norms, strict=True)]
    assert severities(about("rate", lines, summary=KNOWN)) == ["bad"]


@pytest.mark.parametrize(
    ("why", "of", "count", "severity"),
    [
        ("not_finite", "rate", 0, []),
        ("not_finite", "rate", 10, ["warning"]),
        ("not_finite", "rate", 200, ["bad"]),
        ("stale", "staleness", 10, ["warning"]),
        ("stale", "staleness", 200, ["bad"]),
    ],
)
def test_pushes_that_are_refused(why, of, count, severity):
    lines = [*train(FALLING), shard(0.0, 0), shard(8.0, 1000 - count, **{why: count})]
    assert [one for one in severities(about(of, lines, summary=KNOWN)) if one != "good"] == severity


@pytest.mark.parametrize(
    ("staleness", "replicas", "losses", "severity"),
    [
        (1.0, 2, FALLING, "good"),
        (9.9, 2, FALLING, "good"),
        (10.0, 2, FALLING, "warning"),
        (15.0, 16, FALLING, "good"),  # natural
        (15.0, 16, [2.4] * 8, "good"),
        (5.0, 2, [2.4] * 8, "bad"),
        (3.0, 2, [2.4] * 8, "good"),
    ],
)
def test_old_gradients(staleness, replicas, losses, severity):
    found = about("staleness", train(losses, staleness_mean=staleness), replicas=replicas, summary=KNOWN)
    assert severities(found) == [severity]


def test_a_push_of_several_minibatches_is_as_old_as_these():
    lines = [
        *train(FALLING, staleness_mean=1.0),
        of_replicas([1000, 1000], minibatches=[400, 400], pushes=[40, 40]),
    ]
    assert severities(about("staleness", lines, summary=KNOWN)) == ["warning"]


def test_rounds_have_no_age_but_may_drop_too_much():
    sync = '[train]\nalgorithm = "sync"\n[downpour]\nbackups = 1\n'
    counts = {"examples": 1000, "examples_dropped": 550}
    assert severities(about("staleness", train(FALLING), sync, summary=counts)) == ["good"]
    counts["examples_dropped"] = 650
    assert severities(about("staleness", train(FALLING), sync, summary=counts)) == ["warning"]


def of_replicas(learned, **values):
    count = len(learned)
    common = {"minibatches": [100] * count, "computed_s": [8.0] * count, "core_share": [0.95] * count}
    return record("replicas", 8.0, interval_s=8.0, learned=learned, **common | values)


@pytest.mark.parametrize(
    ("learned", "values", "severity"),
    [
        ([1000, 1000, 1000], {}, []),
        ([700, 1000, 1000], {}, []),
        ([590, 1000, 1000], {}, ["warning"]),
        ([290, 1000, 1000], {}, ["bad"]),
        ([700, 1000, 1000], {"core_share": [0.6, 0.9, 0.9]}, ["warning"]),
        ([None, 1000, 1000], {}, []),  # dead
        ([100, 1000, 1000], {"minibatches": [1, 5, 5]}, []),  # too few portions
    ],
)
def test_one_slow_replica(learned, values, severity):
    found = about("slow_replica", [*train(FALLING), of_replicas(learned, **values)], replicas=3)
    assert severities(found) == severity
    if severity:
        assert found[0].text.startswith("Replica 0 has learned")


def test_in_rounds_the_slow_one_is_the_one_that_computes_longest():
    sync = '[train]\nalgorithm = "sync"\nminibatch = 10\nportion = 1\n'
    lines = [*train(FALLING), of_replicas([1000, 1000], computed_s=[2.0, 7.0])]
    found = about("slow_replica", lines, sync)
    assert severities(found) == ["bad"] and found[0].text.startswith("Replica 1")


@pytest.mark.parametrize(
    ("waits", "busy", "severity", "word"),
    [
        (0.29, 0.9, "good", "nobody"),
        (0.31, 0.9, "warning", "held back by the shards"),
        (0.61, 0.9, "bad", "held back by the shards"),
        (0.61, 0.1, "bad", "shards are not why"),
    ],
)
def test_waits_for_shards(waits, busy, severity, word):
    lines = train(FALLING, waits={"fetch": waits - 0.01, "push": 0.01})
    lines += [shard(0.0, 0), shard(8.0, 100) | {"busy_s": 8 * busy}]
    found = about("shards", lines)
    assert severities(found) == [severity] and word in found[0].text


def test_waits_between_very_short_minibatches_are_a_note():
    lines = [one | {"step": 100 * one["step"]} for one in train(FALLING, waits={"fetch": 0.5})]
    assert severities(about("shards", lines)) == ["note"]


def test_shards_that_do_not_keep_up_make_pushes_larger():
    pushes = of_replicas([1000, 1000], minibatches=[400, 400], pushes=[190, 190])
    found = about("shards", [*train(FALLING), pushes], summary={"steps": 800, "updates": 380})
    assert severities(found) == ["warning"]


@pytest.mark.parametrize(("waits", "severity"), [(0.14, "good"), (0.16, "warning"), (0.41, "bad")])
def test_waits_for_the_file(waits, severity):
    assert severities(about("input", train(FALLING, waits={"data": waits}))) == [severity]


@pytest.mark.parametrize(
    ("share", "replicas", "severity", "word"),
    [
        (0.85, 4, "good", "not oversubscribed"),
        (0.75, 4, "warning", "are oversubscribed"),
        (0.4, 4, "bad", "are oversubscribed"),
        (0.4, 2, "bad", "Something else"),
    ],
)
def test_cores(share, replicas, severity, word):
    lines = [*train(FALLING), of_replicas([1000] * replicas, core_share=[share] * replicas)]
    found = about("cores", lines, replicas=replicas)
    assert severities(found) == [severity] and word in found[0].text


def test_cores_are_judged_by_numbers_where_no_core_share_is_known():
    assert severities(about("cores", train(FALLING), replicas=2)) == []
    assert severities(about("cores", train(FALLING), replicas=3)) == ["warning"]
    assert severities(about("cores", train(FALLING), replicas=4)) == ["bad"]


def test_ranks_that_are_bound_to_one_core_are_told():
    ranks = [{"role": f"replica {i} partition 0", "host": "a", "node": 0, "cores": "3"} for i in range(2)]
    lines = [*train(FALLING), of_replicas([1000, 1000], core_share=[0.4, 0.4])]
    nodes = [{"host": "a", "cores": 4, "ranks": 2}]
    assert "bound" in about("cores", lines, ranks=ranks, nodes=nodes)[0].text


def test_waits_are_a_note_where_ranks_mostly_lack_cores():
    lines = [*train(FALLING, waits={"fetch": 0.7}), shard(0.0, 0), shard(8.0, 100) | {"busy_s": 8.0}]
    lines.append(of_replicas([1000] * 4, core_share=[0.3] * 4))
    assert severities(about("shards", lines, replicas=4)) == ["note"]


def test_partitions_that_wait_for_one_another():
    ranks = [{"role": f"replica 0 partition {i}", "host": "a", "node": 0, "cores": "0-1"} for i in range(2)]
    for waits, severity in ((0.49, "good"), (0.5, "warning"), (0.75, "bad")):
        lines = train(FALLING, waits={"states": waits / 2, "derivatives": waits / 2})
        assert severities(about("boundary", lines, ranks=ranks)) == [severity]


@pytest.mark.parametrize(
    "event",
    [
        {"text": "replica 1 has left: rank 3 (replica 1 partition 0) died; its work goes to the others"},
        {"text": "something", "about": "death"},
    ],
)
def test_deaths_are_told(event):
    found = about("deaths", [*train(FALLING), record("event", 3.0, **event)])
    assert severities(found) == ["note"] and event["text"] in found[0].figure


def test_a_job_that_was_killed_is_told_with_what_was_done_again():
    again = [record("job", 2.0, began=True, wall_s=1.0), *train([1.0])]
    found = about("deaths", [*train([2.0, 1.5, 1.2, 1.1]), *again])
    assert severities(found) == ["note"] and "about 2 s" in found[0].figure


def test_goodput_of_a_run_that_has_lasted():
    counts = {"goodput": 0.3, "available_s": 400.0}
    assert severities(about("goodput", train(FALLING), summary=counts)) == ["warning"]
    assert severities(about("goodput", train(FALLING), summary=counts | {"available_s": 40.0})) == []


def test_minibatches_are_counted_from_the_begin_of_the_job():
    """Though the first record has few, as ranks begin one after another."""
    slow, rest = (
        record("train", at, step, interval_s=s) for at, step, s in [(0.1, 20, 0.1), (0.5, 180, 0.4)]
    )
    assert "180 minibatches" in about("goodput", [slow, rest])[0].figure


def test_a_loss_has_fallen_from_where_it_began_and_not_from_where_it_shot_up_to():
    shot_up = [20.8, *FALLING]
    assert "from 2.4 to 0.4" in about("learning", train(shot_up), summary=KNOWN)[0].text


@pytest.mark.parametrize(
    ("described", "replica"),
    [
        ({"nodes": [{"host": "a", "cores": 0}]}, 0),
        ({"ranks": [{"role": "replica 0", "node": 0, "cores": "0-999999999999"}] * 3}, 0),
        ({}, float("inf")),
        ({}, float("nan")),
        ({}, []),
    ],
)
def test_whatever_a_run_has_left_there_is_a_verdict(described, replica):
    text = '[train]\nalgorithm = "sandblaster"\n'
    portions = [record("replica", 9.0, replica=replica, done=100), record("replica", 9.0, replica=1, done=9)]
    assert about("learning", [*train(FALLING), *portions], text, **described)
    assert about("learning", train(FALLING), **described)
