"""What the sections of a page hold, with and without what they show."""

from pathlib import Path

import numpy as np
import pytest

from dbmpi.logs.run import open_run
from dbmpi.report import content
from dbmpi.report.blocks import Bar, Chart, Note, Section, Table
from dbmpi.report.sections import differences, events, figures, life, ranks, rates, staleness
from dbmpi.report.sections.spent import spent
from dbmpi.report.subject import Subject, named
from tests import ROOT
from tests.doubles.recorded import Recorded, whole

SAVED = ROOT / "tests" / "saved" / "0.1.0"
ALL = {
    "learning", "speed", "time", "staleness", "life", "classes", "shards", "traffic", "ranks", "checkpoints",
    "events", "setting",
}  # fmt: skip


def sections(*paths: Path) -> dict[str, Section]:
    made = content.content([open_run(path) for path in paths])
    return {section.key: section for section in made.sections}


def charts(section: Section) -> dict[str, Chart]:
    return {block.title: block for block in section.blocks if isinstance(block, Chart)}


def test_a_run_with_everything_has_every_section(tmp_path: Path) -> None:
    found = sections(whole(tmp_path / "run"))
    assert set(found) == ALL
    assert all(section.blocks for section in found.values())
    assert not any(isinstance(block, Note) for section in found.values() for block in section.blocks)
    drawn = charts(found["learning"])
    assert list(drawn) == ["Loss", "Accuracy", "Learning rate", "Gradient norm"]
    assert len(charts(found["speed"])["Examples per second of each replica"].frames[0].columns) == 3


def test_an_empty_run_has_no_empty_section(tmp_path: Path) -> None:
    run = Recorded(tmp_path / "run")
    run.begin()
    found = sections(run.write())
    assert set(found) == {"learning", "life", "setting"}
    assert isinstance(found["learning"].blocks[0], Note)


@pytest.mark.parametrize("name", ["downpour", "sandblaster", "finished"])
def test_an_old_run_says_what_it_lacks(name: str) -> None:
    found = sections(SAVED / name)
    assert "traffic" not in found or isinstance(found["traffic"].blocks[0], Note)
    assert ("batch" in found) == (name == "sandblaster")
    assert ("staleness" in found) == (name != "sandblaster")
    assert any(isinstance(block, Note) for block in found["speed"].blocks) == (name == "finished")


def test_time_goes_by_cause() -> None:
    told = [{"fetch": 0.25, "states": 0.0}, [1], None, {"fetch": "x"}]
    assert rates.shares(told, "fetch").tolist() == [0.25, 0.0, 0.0, 0.0]


def test_the_parts_of_a_minibatch_add_up(tmp_path: Path) -> None:
    chart = charts(sections(whole(tmp_path / "run"))["time"])["Time of a minibatch by cause"]
    total = np.nansum([column.values for column in chart.frames[0].columns], axis=0)
    # A second has ten minibatches of three replicas together; nothing is known across the jobs' border.
    assert np.allclose(total[[0, 1, -1]], 300.0)


def test_what_was_done_again_is_marked(tmp_path: Path) -> None:
    found = sections(whole(tmp_path / "run"))
    table = found["life"].blocks[0]
    assert isinstance(table, Table) and [row[4] for row in table.rows] == ["10 s", ""]
    bar = table.rows[0][1]
    assert isinstance(bar, Bar) and bar.parts == [
        (0.0, 2.0, "start"),
        (2.0, 30.0, "train"),
        (32.0, 10.0, "again"),
    ]
    loss = charts(found["learning"])["Loss"]
    faded = [frame for frame in loss.frames if frame.columns[0].style == "faded"]
    assert [len(frame) for frame in faded] == [10, 2]
    assert faded[0].axes["life"].tolist() == [float(i) for i in range(33, 43)]


def test_updates_go_on_over_jobs(tmp_path: Path) -> None:
    run = Recorded(tmp_path / "run", shards=1)
    run.begin()
    for time_s, updates in ((1.0, 20), (2.0, 40)):
        run.record("shard", time_s, shard=0, updates=updates, clients=3)
    run.begin(2.0)
    run.record("shard", 3.0, shard=0, updates=10, clients=3)
    run.record("train", 3.0, loss=1.0)
    subject = Subject(open_run(run.write()))
    assert subject.axes(subject.run.records("train"))["updates"].tolist() == [50.0]
    assert subject.axes(subject.run.records("shard"))["updates"].tolist() == [20.0, 40.0, 50.0]


def test_an_event_is_on_the_axes_and_in_the_table(tmp_path: Path) -> None:
    subject = Subject(open_run(whole(tmp_path / "run")))
    first, second = events.marks(subject)
    assert (first.about, first.axes["time"], first.axes["life"]) == ("death", 22.0, 24.0)
    assert (second.number, second.about) == (2, "resume")


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("replica 2 has left: rank 5 died", "death"),
        ("goes on from checkpoint 3", "resume"),
        ("else", "other"),
    ],
)
def test_events_of_version_1_are_told_apart_by_their_words(text: str, about: str) -> None:
    assert events.about({"text": text}) == about


def test_many_events_are_the_first_and_the_last(tmp_path: Path) -> None:
    run = Recorded(tmp_path / "run")
    run.begin()
    for i in range(1000):
        run.record("event", float(i), text="x")
    table = sections(run.write())["events"].blocks[0]
    assert isinstance(table, Table) and len(table.rows) == events.MOST and table.rows[-1][0] == "1000"


def test_a_crowd_is_its_least_median_and_largest(tmp_path: Path) -> None:
    found = sections(whole(tmp_path / "run", replicas=40, partitions=1, shards=20))
    names = [column.name for column in charts(found["shards"])["Load of shards"].frames[0].columns]
    assert names == ["least of 20 shards", "median", "largest"]
    assert staleness.section(Subject(open_run(tmp_path / "run"))) is not None


def test_ranks_lie_on_their_nodes(tmp_path: Path) -> None:
    section = ranks.section(Subject(open_run(whole(tmp_path / "run", replicas=20))))
    assert section is not None
    places = section.blocks[0]
    assert [node for node, _ in places.nodes] == [
        "node0: 16 ranks on 16 cores",
        "node1: 16 ranks",
        "node2: 11 ranks",
    ]  # type: ignore[union-attr]
    assert [place.short for place in places.nodes[0][1]][:4] == ["co", "s0", "s1", "r0.0"]  # type: ignore[union-attr]


def test_runs_are_compared_by_what_is_not_the_same(tmp_path: Path) -> None:
    paths = [whole(tmp_path / name / "run") for name in "ab"]
    (paths[1] / "config.toml").write_text("[train]\nseed = 7\n")
    subjects = named([open_run(path) for path in paths])
    assert [one.name for one in subjects] == ["run (1)", "run (2)"]
    assert differences.differences([differences.values(one) for one in subjects]) == [
        ["train.seed", "1", "7"]
    ]
    found = sections(*paths)
    assert list(found) == ["figures", "differences", "learning", "speed", "staleness"]
    assert {
        column.name for frame in charts(found["learning"])["Loss"].frames for column in frame.columns
    } >= {
        "run (1): training",
        "run (2): test",
    }
    same = sections(paths[0], paths[0])["differences"].blocks[0]
    assert isinstance(same, Note)


def test_a_layer_more_is_a_difference(tmp_path: Path) -> None:
    paths = [whole(tmp_path / name) for name in "ab"]
    layers = '[[model.layers]]\ntype = "dense"\nunits = 9\n' * 3
    (paths[1] / "config.toml").write_text(layers)
    rows = differences.differences(
        [differences.values(one) for one in named([open_run(path) for path in paths])]
    )
    assert ["model.layers[2].units", None, "9"] in rows


@pytest.mark.parametrize(
    ("status", "finished", "ended", "words", "kind"),
    [
        (0, True, True, "finished: epochs", "good"),
        (3, True, True, "ended with status 3", "bad"),
        (85, False, True, "stopped: epochs; go on with: mpirun", "warning"),
        (1, False, True, "ended with status 1", "bad"),
        (0, False, False, "has not said how", "bad"),
    ],
)
def test_how_a_run_stands(
    tmp_path: Path, status: int, finished: bool, ended: bool, words: str, kind: str
) -> None:
    run = Recorded(tmp_path / "run")
    run.describe()
    run.begin()
    run.second(1.0)
    if ended:
        run.end(2.0, finished=finished)
    path = run.write()
    text = (path / "summary.json").read_text().replace('"status": 0', f'"status": {status}')
    (path / "summary.json").write_text(text)
    head = content.content([open_run(path)]).heads[0]
    assert words in head.state and head.state_kind == kind


def test_goodput_of_a_run_that_goes_on_is_of_its_records(tmp_path: Path) -> None:
    run = Recorded(tmp_path / "run")
    run.describe()
    run.begin()
    for second in range(1, 41):
        run.second(second)
    run.begin(20.0, wall_s=3.0)
    found = spent(Subject(open_run(run.write())))
    # Of three replicas: four records of 5 s count, those of the part that is done again do not.
    assert found is not None and found.computed_s == 4 * 3 * 3.0 and found.waits_s["fetch"] == 4 * 3 * 1.0
    assert found.available_s == 6 * (2.0 + 40.0 + 3.0)


def test_the_seconds_of_goodput_add_up(tmp_path: Path) -> None:
    section = life.section(Subject(open_run(whole(tmp_path / "run"))))
    assert section is not None
    table = section.blocks[1]
    assert isinstance(table, Table) and "67.2%" in table.caption
    bars = [row[1] for row in table.rows]
    assert sum(part[1] for bar in bars if isinstance(bar, Bar) for part in bar.parts) == pytest.approx(372.0)


def test_key_figures_of_a_run_that_goes_on_are_its_own(tmp_path: Path) -> None:
    """And not those of the job before, whose summary is there."""
    run = Recorded(tmp_path / "run")
    run.begin()
    for second in (1.0, 2.0):
        run.second(second)
    run.describe()
    found = {one.name: one for one in figures.figures(named([open_run(run.write())])[0])}
    assert found["Mean staleness"].value == "2.5" and "9" in found["Mean staleness"].remark
    assert "Updates" not in found and "Core share" not in found


def test_key_figures_of_a_run_that_was_stopped_are_those_of_its_summary(tmp_path: Path) -> None:
    run = Recorded(tmp_path / "run")
    run.begin()
    for second in range(1, 61):
        run.second(second)
    run.describe()
    run.end(60.0, finished=False)
    found = {one.name: one.value for one in figures.figures(named([open_run(run.write())])[0])}
    assert found["Examples per second"] == "640" and found["Training time"] == "60 s"
