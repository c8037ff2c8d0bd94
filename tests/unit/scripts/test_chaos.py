"""`python scripts/chaos`: what is drawn and promised, how lines add up, and what they come to."""

import json
import random
import time
from collections import namedtuple

import pytest

from dbmpi.errors import STATUS_OWNED
from scripts.chaos import lines, promises, report, series
from scripts.chaos.jobs import Mode
from scripts.chaos.kinds import ANYBODY, KINDS, LAUNCHERS
from scripts.chaos.plan import Plan
from scripts.chaos.promises import PROMISES, kept, promised
from scripts.chaos.shapes import SHAPES, Shape
from scripts.chaos.tried import Tried, verdict
from tests import ROOT

PHASES = "launch", "training", "end"
Place = namedtuple("Place", "folder")


def line(number=0, kind="kill", wrong=(), **more):
    fixed = {"host": "h", "commit": "c", "seed": 1, "kinds": "kill", "time": 1.0, "mode": "downpour ulfm"}
    own = {"try": number, "kind": kind, "wrong": list(wrong), "verdict": verdict(list(wrong)), "status": 0}
    return {**fixed, **own, "algorithm": "downpour", **more}


def test_something_is_promised_for_every_kind_role_mode_and_phase():
    for name, kind in KINDS.items():
        if kind.own:
            continue
        for number in range(100):
            plan = Plan.drawn(kind, random.Random(number), [Mode("sync", launcher) for launcher in LAUNCHERS])
            role = plan.shape.role_of_all(plan.victims)
            for phase in PHASES:
                rows = [row for row in PROMISES if row.covers(name, role, plan.mode.launcher, phase)]
                assert rows, (name, role, phase)


def test_the_table_speaks_of_kinds_that_there_are():
    words = {word for row in PROMISES for word in promises.GROUPS.get(row.kinds, row.kinds).split()}
    assert words <= set(KINDS)
    assert {name for name, kind in KINDS.items() if not kind.own} <= words  # others may have their own


def test_the_documentation_has_the_table():
    assert promises.markdown() in (ROOT / "docs" / "reliability.md").read_text()


def test_what_is_close_to_the_border_of_phases_is_promised_what_either_is():
    assert promised("kill", "shard", "ulfm", ["training"]) == ["0"]
    assert promised("kill", "coordinator", "ulfm", ["training", "end"]) == ["85", "0", "1"]
    assert promised("kill", "coordinator", "ulfm", ["over"]) == ["0"]


@pytest.mark.parametrize(
    "status, words, whole, holds",
    [
        (85, ["85"], True, True),
        (85, ["85"], False, False),
        (1, ["85"], False, True),
        (1, ["85"], True, False),
        (85, ["85-"], False, True),
        (9, ["137"], True, True),
        (0, ["1", "85"], True, False),
        (STATUS_OWNED, ["own"], True, True),
    ],
)
def test_statuses_that_keep_a_promise(status, words, whole, holds):
    assert kept(status, words, whole) == holds


@pytest.mark.parametrize(
    "shape, ranks, role",
    [
        ("2+2x1", [0], "coordinator"),
        ("2+2x1", [1], "shard"),
        ("1+2x1", [1], "only shard"),
        ("2+2x1", [1, 2], "only shard"),
        ("3+2x1", [1, 3], "shards"),
        ("2+2x1", [3], "replica"),
        ("2+1x2", [4], "last replica"),
        ("2+2x2", [3, 4], "replica"),
        ("2+2x2", [4, 5], "last replica"),
        ("2+2x1", [0, 4], "coordinator+replica"),
        ("2+3x1", [2, 4], "replica+shard"),
    ],
)
def test_the_role_of_ranks_together(shape, ranks, role):
    assert Shape.of(shape).role_of_all(ranks) == role
    assert str(Shape.of(shape)) == shape


def test_a_plan_follows_from_the_draw_and_meets_the_roles_of_the_kind():
    for name, kind in KINDS.items():
        plans = [Plan.drawn(kind, random.Random(name), [Mode("sync", "ulfm")]) for _ in range(2)]
        assert plans[0] == plans[1] and plans[0].shape in SHAPES
        if kind.roles and not kind.own:
            assert len(set(plans[0].victims)) == kind.victims or len(kind.roles)
            assert set(plans[0].victims) <= {r for role in kind.roles for r in plans[0].shape.ranks_of(role)}


def test_each_kind_has_its_turn_as_often_as_it_weighs():
    names = ["kill", "stop", "suspend"]
    turn = sum(KINDS[name].weight for name in names)
    chosen = [series.chosen(names, 7, number) for number in range(2 * turn)]
    assert all(chosen[:turn].count(name) == KINDS[name].weight for name in names)
    assert chosen == [series.chosen(names, 7, number) for number in range(2 * turn)]
    assert KINDS["kill"].roles == ANYBODY


def test_files_can_be_put_together_and_half_a_line_is_left_out(tmp_path):
    for name, numbers in (("a", (0, 1)), ("b", (1, 2))):
        texts = [json.dumps(line(number)) for number in numbers]
        (tmp_path / name).write_text("\n".join([*texts, '{"half']))
    found = lines.read([tmp_path / name for name in ("a", "b", "nowhere")])
    assert [one["try"] for one in found] == [0, 1, 1, 2]
    assert [one["try"] for one in report.made(found)] == [0, 1, 2]


def test_a_try_of_this_commit_is_not_made_again(tmp_path):
    path = tmp_path / "series.jsonl"
    path.write_text(json.dumps(line(3, commit=lines.commit())) + "\n")
    some = series.Series(None, path, 1, [])
    assert some.made(["kill"], 3)
    assert not some.made(["kill"], 2) and not some.made(["kill", "stop"], 3)
    assert not series.Series(None, path, 2, []).made(["kill"], 3)


def test_the_verdict_is_the_worst_of_what_is_wrong():
    assert verdict([]) == "as promised"
    assert verdict(["manners: a traceback", "status 1", "damage: model.h5"]) == "silent damage"
    assert verdict(["then hang"]) == "hang"
    assert verdict(["status 1 of a job that nothing disturbed"]) == "wrong status"
    assert verdict(["manners: a traceback"]) == "bad manners"
    assert verdict(["one should have run"]) == "another breach"


def test_the_report_counts_and_compares():
    calm = [line(number, "none", accuracy=0.91, applied_s=1.0, available_s=4.0) for number in (0, 1)]
    disturbed = [
        line(2, accuracy=0.909, lost_s=0.5, rows_again=7, applied_s=1.0, available_s=10.0),
        line(3, wrong=["status 1"], status=1),
        line(4, "link-cut", verdict="not possible here", notes=["not possible here: no ip"]),
    ]
    text = report.report(calm + disturbed)
    assert "4 tries, 3 ended as promised\naims, of 2 disturbed and 2 undisturbed tries:" in text
    assert "  wrong status: 1, of 0: NOT KEPT" in text and "  hang: 0, of 0: kept" in text
    assert "work: 0.5 s at most, 0.50 s on average, of 3 s" in text and "rows_again: 7 at most" in text
    means = "mean 90.90% of 1 runs, 91.00% of 2 undisturbed: -0.10 points, of 0.3: kept"
    worst = "worst 90.90%, 91.00% undisturbed: -0.10 points, of -0.5: kept"
    for by in ("all", "downpour"):
        assert f"  accuracy, {by}: {means}" in text and f"  accuracy, {by}: {worst}" in text
    assert "goodput, disturbed runs: 10.0%" in text and "goodput, undisturbed runs: 25.0%" in text
    assert "kill (try 3 of seed 1, downpour ulfm ): status 1" in text
    assert "link-cut: not possible here: no ip (1 tries)" in text


def test_accuracy_too_far_below_is_not_kept():
    calm = [line(number, "none", accuracy=0.91) for number in (0, 1)]
    text = report.report([*calm, line(2, accuracy=0.90)])
    assert "points, of 0.3: NOT KEPT" in text and "points, of -0.5: NOT KEPT" in text


def test_tries_of_some_kinds_are_made_side_by_side_and_those_of_others_alone(tmp_path, monkeypatch):
    together, most = [], {}

    def make(this, name, number, draw):
        together.append(name)
        most[name] = max(most.get(name, 0), len(together))
        time.sleep(0.05)
        together.remove(name)
        return Tried()

    monkeypatch.setattr(series.Series, "_make", make)
    some = series.Series(Place(tmp_path), tmp_path / "series.jsonl", 1, [], jobs=2)
    found = list(some.tries(["none", "suspend"], 12, time.monotonic() + 60))
    assert sorted(one["try"] for one in found) == list(range(12))
    assert most == {"none": 2, "suspend": 1}
    assert len(lines.read([tmp_path / "series.jsonl"])) == 12
    assert not list(some.tries(["none", "suspend"], 12, time.monotonic() + 60))  # in another sitting
    assert not list(some.tries(["none", "suspend"], 20, time.monotonic()))  # there is no time left


def test_a_kind_that_meets_one_of_each_role_meets_them_in_order():
    for number in range(20):
        plan = Plan.drawn(KINDS["kill-emergency"], random.Random(number), [Mode("sync", "ulfm")])
        assert plan.shape.shards >= 3 and plan.victims[0] == 0 and 1 <= plan.victims[1] <= plan.shape.shards
    with pytest.raises(SystemExit, match="ulfm"):
        Plan.drawn(KINDS["kill-emergency"], random.Random(1), [Mode("sync", "plain")])
