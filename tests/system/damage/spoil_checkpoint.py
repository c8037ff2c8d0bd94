"""Ways to spoil the checkpoints of a run directory; a case is a function of the seed and its number."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.system.damage import craft, spoil_bytes

Rng = np.random.Generator
INDEX, MANIFEST, SHARD = "index.h5", "manifest.json", "shard-0000.h5"
WRONG: tuple[Any, ...] = (None, "x", "", -1, 1.5, True, [], {}, [1], {"a": 1}, [[]], 10**30, "\x00\n")


NEVER: tuple[Any, ...] = ("x", [[1]], {"a": "x"}, 10**30)  # nothing in a state is so


def spoilt_file(path: Path, rng: Rng) -> str:
    """Spoil the bytes of one file."""
    name = (INDEX, MANIFEST, SHARD)[rng.integers(3)]
    before = (path / name).read_bytes()
    any_file = [one for one in spoil_bytes.SPOILERS if one is not spoil_bytes.spoil_behind_a_mark]
    spoiler = any_file[rng.integers(len(any_file))]
    detail = spoiler(path / name, rng)
    if (path / name).read_bytes() == before:  # it happened to write what was there
        spoil_bytes.truncate(path / name, rng)
    return f"{name}: {spoiler.__name__} {detail}"


def other_thing(path: Path, rng: Rng) -> str:
    """Put nothing, or something else, in the place of a file."""
    name = (INDEX, MANIFEST, SHARD)[rng.integers(3)]
    (path / name).unlink()
    kinds: dict[str, Callable[[], object]] = {
        "nothing": lambda: None,
        "directory": (path / name).mkdir,
        "dangling link": lambda: (path / name).symlink_to("nowhere"),
        "circle": lambda: (path / name).symlink_to(name),
        "empty": (path / name).touch,
        "deep JSON": lambda: (path / name).write_text("[" * 100_000),
        "no text": lambda: (path / name).write_bytes(rng.bytes(300)),
    }
    kind = list(kinds)[rng.integers(len(kinds))]
    kinds[kind]()
    return f"{name}: {kind}"


def swapped(path: Path, rng: Rng) -> str:
    """Exchange a file with that of another checkpoint."""
    name = (MANIFEST, SHARD)[rng.integers(2)]
    others = [one for one in sorted(path.parent.iterdir()) if one != path]
    other = others[rng.integers(len(others))]
    ours, theirs = (path / name).read_bytes(), (other / name).read_bytes()
    (path / name).write_bytes(theirs)
    (other / name).write_bytes(ours)
    return f"{name} with {other.name}"


def no_directory(path: Path, rng: Rng) -> str:
    """Put something else in the place of the checkpoint."""
    shutil.rmtree(path)
    kinds: dict[str, Callable[[], object]] = {
        "file": path.touch,
        "empty directory": path.mkdir,
        "dangling link": lambda: path.symlink_to("nowhere"),
    }
    kind = list(kinds)[rng.integers(len(kinds))]
    kinds[kind]()
    return kind


def seal_again(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a manifest, and give it a checksum that is right."""
    content = json.loads((path / MANIFEST).read_text())
    content.pop("sha256")
    change(content)
    content["sha256"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    (path / MANIFEST).write_text(json.dumps(content, indent=2))


def wrong_type(path: Path, rng: Rng) -> str:
    """Give a field of the manifest another type, or take it away."""
    said: dict[str, Any] = {}
    seal_again(path, said.update)
    name, value = sorted(said)[rng.integers(len(said))], WRONG[rng.integers(len(WRONG))]
    if type(value) is type(said[name]) or (name == "score" and type(value) in (int, float, type(None))):
        value = {"score": "x"}.get(name)
    missing = bool(rng.integers(4) == 0)
    seal_again(path, lambda content: content.pop(name) if missing else content.update({name: value}))
    return f"{name}: {'gone' if missing else repr(value)}"


def wrong_type_within(path: Path, rng: Rng) -> str:
    """Give an entry of a table in the manifest another type, or take it away."""
    said: dict[str, Any] = {}
    seal_again(path, said.update)
    table = ("files", "model", "cluster")[rng.integers(3)]
    name = sorted(said[table])[rng.integers(len(said[table]))]
    value = WRONG[rng.integers(len(WRONG))]
    if type(value) is type(said[table][name]):
        value = None
    missing = bool(rng.integers(4) == 0)

    def change(content: dict[str, Any]) -> None:
        content[table][name] = value
        if missing:
            del content[table][name]

    seal_again(path, change)
    return f"{table}.{name}: {'gone' if missing else repr(value)}"


def newer_format(path: Path, rng: Rng) -> str:
    """Let a later version have written it."""
    value = (2, 99, "2", None)[rng.integers(4)]
    seal_again(path, lambda content: content.update(format=value))
    return repr(value)


def other_model(path: Path, rng: Rng) -> str:
    """Let it be of another network or other data."""
    kinds: dict[str, Callable[[dict[str, Any]], Any]] = {
        "dtype": lambda model: model.update(dtype="float64"),
        "rows": lambda model: model.update(rows=49),
        "tensor gone": lambda model: model["tensors"].popitem(),
        "tensor more": lambda model: model["tensors"].update({"layers.9.weight": [3, 3]}),
        "shape": lambda model: model["tensors"].update({"layers.0.weight": [5, 7]}),
    }
    kind = list(kinds)[rng.integers(len(kinds))]
    seal_again(path, lambda content: kinds[kind](content["model"]))
    return kind


def entries(content: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every table or list within a state, with each name or place in it."""
    for at in content if isinstance(content, dict) else range(len(content)):
        yield content, at
        if isinstance(content[at], dict | list):
            yield from entries(content[at])


def wrong_state(path: Path, rng: Rng) -> str:
    """Let a value in the state of the run be of no kind that it can have."""
    said: dict[str, Any] = {}

    def change(content: dict[str, Any]) -> None:
        found = list(entries(content["state"]))
        table, at = found[rng.integers(len(found))]
        value = NEVER[rng.integers(len(NEVER))]
        said.update(at=at, before=table[at], value=value)
        table[at] = value

    seal_again(path, change)
    return f"{said['at']}: {said['value']!r} for {said['before']!r}"


def crafted(path: Path, rng: Rng) -> str:
    """Let a file lead elsewhere, or hold something else, with checksums that are right."""
    kind = [*craft.INDEXES, *craft.SHARDS][rng.integers(len(craft.INDEXES) + len(craft.SHARDS))]
    name = INDEX if kind in craft.INDEXES and (kind not in craft.SHARDS or rng.integers(2)) else SHARD
    with h5py.File(path / name, "r+") as file:
        craft.INDEXES[kind](file) if name == INDEX else craft.SHARDS[kind](file, "/etc/passwd")
    record = {
        "bytes": (path / name).stat().st_size,
        "sha256": hashlib.sha256((path / name).read_bytes()).hexdigest(),
    }
    seal_again(path, lambda content: content["files"].update({name: record}))
    return f"{name}: {kind}"


SPOILERS = (
    spoilt_file, spoilt_file, spoilt_file, other_thing, swapped, no_directory, wrong_type, wrong_type,
    wrong_type_within, wrong_type_within, newer_format, other_model, wrong_state, wrong_state, crafted,
    crafted,
)  # fmt: skip


def make(seed: int, number: int, run: Path, directory: Path) -> dict[str, Any]:
    """Copy a run, spoil its newest checkpoint or every one; return the path, and what was done."""
    rng = np.random.default_rng([seed, number, 1])
    copy = directory / f"run{number}"
    shutil.copytree(run, copy)
    spoiler = SPOILERS[rng.integers(len(SPOILERS))]
    every = bool(rng.integers(4) == 0) and spoiler is not swapped
    newest = sorted((copy / "checkpoints").iterdir())[-1]
    what = "; ".join(spoiler(one, rng) for one in (sorted(newest.parent.iterdir()) if every else [newest]))
    return {"run": str(copy), "what": f"{spoiler.__name__} {what}", "every": every, "newest": newest.name}
