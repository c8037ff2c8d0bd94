"""The configurations that ship in examples/: they load, and their networks are what their comments say."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from dbmpi.config.layers import Conv, Dense, Local, Pool, pair
from dbmpi.config.load import load
from dbmpi.config.sections import Config
from dbmpi.data import describe, fits
from dbmpi.layout import network, topology
from dbmpi.run.plan import dryrun
from tests import ROOT

FOLDER = ROOT / "examples"
EXAMPLES = sorted(FOLDER.glob("*.toml"))
IMAGES = {
    "mnist": (28, 28),
    "mnist-lbfgs": (28, 28),
    "image-28": (28, 28),
    "image-32": (32, 32, 3),
    "paper-image": (100, 100, 3),
    "speech": (440,),
}
PARAMETERS = {
    "mnist": 785 * 512 + 513 * 512 + 513 * 10,
    "mnist-lbfgs": 785 * 512 + 513 * 512 + 513 * 10,
    "image-28": 456_578,
    "image-32": 1_013_738,
    "paper-image": 1_699_087_440,
    "speech": 441 * 256 + 3 * 257 * 256 + 257 * 30,
}


def planes(config: Config, shape: tuple[int, ...]) -> tuple[list[tuple[int, int]], int]:
    """Follow the plane through the layers: its rows and columns after each, and the parameters in all."""
    rows, columns, maps = (*shape, 1, 1)[:3]
    found, parameters = [], 0
    for layer in config.model.layers:
        if isinstance(layer, Local | Conv | Pool):
            (height, width), (down, right) = pair(layer.size), pair(layer.stride)
            top, left = pair(layer.padding) if not isinstance(layer, Pool) else (0, 0)
            rows = len(range(-top, rows + top - height + 1, down))
            columns = len(range(-left, columns + left - width + 1, right))
        if isinstance(layer, Local):
            parameters += rows * columns * layer.filters * (height * width * maps + 1)
            maps = layer.filters
        if isinstance(layer, Dense):
            parameters += (rows * columns * maps + 1) * layer.units
            rows, columns, maps = 1, 1, layer.units
        found.append((rows, columns))
    return found, parameters


def test_the_examples_were_found() -> None:
    assert {path.stem for path in EXAMPLES} == set(IMAGES)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_network_is_the_one_the_comment_counts(path: Path) -> None:
    config, text = load(path), path.read_text("utf-8")
    _, parameters = planes(config, IMAGES[path.stem])
    net = network.build(config, IMAGES[path.stem])
    assert parameters == net.parameters == PARAMETERS[path.stem]
    assert f"{parameters:,} parameters" in text
    for stage in re.findall(r"pooled to (\d+ x \d+ x \d+)", text):
        assert tuple(map(int, stage.split(" x "))) in net.spaces
    for layer in net.layers:
        size = sum(tensor.size for tensor in (layer.weight, layer.bias) if tensor is not None)
        assert path.stem.startswith("mnist") or not size or f"{size:,}" in text


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_plane_has_rows_and_columns_for_each_tile_of_the_grid(path: Path) -> None:
    config = load(path)
    rows, columns = config.cluster.grid or (1, 1)
    found, _ = planes(config, IMAGES[path.stem])
    assert all(height >= rows and width >= columns for height, width in found[:-1] if config.cluster.grid)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_comment_tells_the_ranks(path: Path) -> None:
    cluster, text = load(path).cluster, path.read_text("utf-8")
    size = 1 + cluster.shards + cluster.replicas * cluster.partitions
    plan = topology.assign_roles(size, cluster.shards, cluster.replicas, cluster.partitions)
    assert not plan.spares
    equation = plan.equation().replace("partitions", "tiles")
    assert f"# {equation}" in text.replace("partitions", "tiles")
    assert f"mpirun -n {size} python -m dbmpi.train examples/{path.name}" in text


def test_the_image_examples_are_of_three_stages() -> None:
    for name in ("image-28", "image-32", "paper-image"):
        layers = load(FOLDER / f"{name}.toml").model.layers
        assert [layer.type for layer in layers] == [*("local", "pool", "lcn") * 3, "dense"]
        assert all(layer.kind == "l2" for layer in layers if isinstance(layer, Pool))


def test_the_papers_network_is_the_papers() -> None:
    config = load(FOLDER / "paper-image.toml")
    filters = [layer for layer in config.model.layers if isinstance(layer, Local)]
    assert [(pair(layer.size), layer.filters) for layer in filters] == [((10, 10), 36)] * 3
    assert (config.model.loss, config.model.layers[-1]) == ("logistic", Dense(units=21000))
    assert PARAMETERS["paper-image"] == pytest.approx(1.7e9, rel=0.01)
    assert config.cluster.partitions == 81


def test_the_stand_in_for_imagenet_takes_no_space_and_the_dry_run_says_what_is_told(tmp_path: Path) -> None:
    lines = [line[1:] for line in (FOLDER / "paper-image.toml").read_text("utf-8").splitlines()]
    code = "\n".join(lines).partition('python -c "')[2].partition('\n     "')[0]
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, check=True, timeout=60)
    file = tmp_path / load(FOLDER / "paper-image.toml").data.path
    assert file.stat().st_size < 100_000
    description = describe.describe(file)
    assert (description.train_rows, description.input_shape) == (16_000_000, (100, 100, 3))
    fits.check_fits(description, 21_000, "logistic")

    text = dryrun.report(load(FOLDER / "paper-image.toml"), None, description)
    assert len(re.findall(r"(?m)^shard \d .* 3\.47 GB$", text)) == 8
    assert re.search(r"(?m)^partition \d+ \(most of 81\) .* 222 MB$", text)
    assert re.search(r"(?m)^partition \d+ \(least\) .* 178 MB$", text)
    assert re.search(r"(?m)^all 81 partitions together .* 1,09\d,\d{3},\d{3}$", text)


@pytest.mark.parametrize("name", ["mnist", "image-28", "image-32", "speech"])
def test_the_way_to_train_in_one_process(name: str) -> None:
    path = FOLDER / f"{name}.toml"
    (overrides,) = re.findall(r"in one process: add --set (.*)", path.read_text("utf-8"))
    cluster = load(path, overrides.split()).cluster
    assert topology.assign_roles(1, cluster.shards, cluster.replicas, cluster.partitions).serial
