"""Whether a manifest is shaped as this version writes it: a checksum that is right says nothing of the types.

Plain Python. What is below `state` is for `run_state`.
"""

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

Check = Callable[[Any], bool]


def misshapen(content: Mapping[str, Any], index: str, is_shard_file: Callable[[str], bool]) -> str:
    """Return the names of the fields that are absent or of another type; nothing where all are right.

    Parameters
    ----------
    content
        The manifest without its format and its checksum.
    index, is_shard_file
        The files that every checkpoint has: the index by its name, and one of each shard that wrote it.
    """
    odd = [name for name, right in FIELDS.items() if name not in content or not right(content[name])]
    if not odd:
        others = set(content["files"]) - {index}
        right = len(content["files"]) == 1 + content["cluster"]["shards"] == 1 + len(others)
        odd = [] if right and all(map(is_shard_file, others)) else ["files"]
    return ", ".join(odd)


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _number(value: Any) -> bool:
    return _count(abs(value)) if type(value) is int else type(value) is float and isfinite(value)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _table(value: Any) -> bool:
    return isinstance(value, dict)


def _score(value: Any) -> bool:
    return value is None or _number(value)


def _files(value: Any) -> bool:
    return _table(value) and all(
        _table(one) and set(one) == {"bytes", "sha256"} and _count(one["bytes"]) and _text(one["sha256"])
        for one in value.values()
    )


def _cluster(value: Any) -> bool:
    names = ("shards", "replicas", "partitions")
    return _table(value) and all(_count(value.get(name)) and 0 < value[name] < 2**20 for name in names)


def _model(value: Any) -> bool:
    return (
        _table(value)
        and value.get("dtype") in ("float32", "float64")
        and _count(value.get("rows"))
        and _table(value.get("tensors"))
        and _table(value.get("made", {}))
        and all(map(_text, value.get("made", {}).values()))
        and all(isinstance(shape, list) and all(map(_count, shape)) for shape in value["tensors"].values())
    )


FIELDS: dict[str, Check] = {
    "number": _count, "time": _text, "algorithm": _text, "model": _model, "cluster": _cluster,
    "files": _files, "configuration": _text, "versions": _table, "score": _score, "state": _table,
}  # fmt: skip
