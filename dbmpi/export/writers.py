"""From a model to the files that are asked for: written, looked at, then named."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dbmpi.errors import UserError
from dbmpi.export import again, interface, staging
from dbmpi.export.check import EXAMPLES, Sample
from dbmpi.extras import extra
from dbmpi.files import write_text, writing
from dbmpi.text import listed, several, show
from dbmpi.trained.model import TrainedModel
from dbmpi.trained.opening import open_model

ONNX, SAFETENSORS, NPZ = ".onnx", ".safetensors", ".npz"


@dataclass(frozen=True)
class Asked:
    """What is to be written.

    Attributes
    ----------
    out
        The file; its suffix says of which kind.
    module
        A module of PyTorch that loads it.
    external
        Whether parameters are to be beside an ONNX file.
    replace
        Whether files that are there may be replaced.
    """

    out: Path
    module: Path | None = None
    external: bool = False
    replace: bool = False


def export(model: Path, asked: Asked) -> str:
    """Write a model; return what there is to tell of it. Local.

    Raises
    ------
    UserError
        There is no such model, what is asked for cannot be, or a file cannot be written. Nothing has changed.
    """
    _check(asked)
    with open_model(model) as trained:
        return WRITERS[asked.out.suffix](trained, asked)


def _check(asked: Asked) -> None:
    """Refuse what cannot be, before anything is read."""
    suffix = asked.out.suffix
    if suffix not in WRITERS:
        raise UserError(f"{asked.out}: ends in {show(suffix)}, but should end in {listed(list(WRITERS))}")
    if asked.module is not None and suffix != SAFETENSORS:
        raise UserError(
            f"--torch {asked.module}: goes with a {SAFETENSORS} file, which it loads, in place of {asked.out}"
        )
    if asked.module is not None and not (asked.module.suffix == ".py" and asked.module.stem.isidentifier()):
        raise UserError(
            f"--torch {asked.module}: no module can have this name; as an example, name it network.py"
        )
    if asked.external and suffix != ONNX:
        raise UserError(f"--external-data is of {ONNX} files; leave it out for {asked.out}")
    for path in (asked.out, asked.module):
        if path is not None:
            staging.check_free(path, asked.replace)


def _onnx(trained: TrainedModel, asked: Asked) -> str:
    with extra("onnx"):
        from dbmpi.export import onnx_check, onnx_file
    beside = asked.out.with_name(asked.out.name + onnx_file.DATA)
    staging.check_free(beside, asked.replace)
    with staging.appearing(asked.out, [beside]) as room:
        path = room / asked.out.name
        with writing(asked.out):
            onnx_file.write(path, trained, asked.external)
        large = onnx_file.too_large(trained)
        looked = onnx_check.look_at(path, Sample(trained), large)
    ports = [
        f"  in   {interface.input_of(trained)}",
        *(f"  out  {one}" for one in interface.outputs_of(trained)),
    ]
    files = [one for one in (asked.out, beside) if one.exists()]
    return "\n".join([_summary(trained, files, f"; opset {onnx_file.OPSET}"), *ports, _checked(looked)])


def _safetensors(trained: TrainedModel, asked: Asked) -> str:
    with extra("safetensors"):
        from dbmpi.export import safetensors_file
    told = []
    with staging.appearing(asked.out) as room:
        path = room / asked.out.name
        with writing(asked.out):
            safetensors_file.write(path, trained)
        again.check_model(path, trained)
        if asked.module is not None:
            told = _module(trained, asked, path)
    return "\n".join([_summary(trained, [asked.out]), "checked: it reads back equal", *told])


def _module(trained: TrainedModel, asked: Asked, weights: Path) -> list[str]:
    """Write the module; `weights` is the file before it has its name."""
    from dbmpi.export import torch_check, torch_module

    assert asked.module is not None
    text = torch_module.source(trained, asked.module, asked.out)
    looked = torch_check.look_at(text, weights, Sample(trained)) if torch_check.possible() else None
    write_text(asked.module, text)
    return [
        f"{asked.module}: a module of PyTorch that loads {asked.out}",
        _checked(looked) if looked else "not checked: torch cannot be imported here",
    ]


def _npz(trained: TrainedModel, asked: Asked) -> str:
    from dbmpi.export import npz_file

    with staging.appearing(asked.out) as room:
        path = room / asked.out.name
        with writing(asked.out):
            npz_file.write(path, trained)
        again.check_arrays(path, npz_file.contents(trained))
    return "\n".join([_summary(trained, [asked.out]), "checked: it reads back equal"])


def _summary(trained: TrainedModel, files: list[Path], more: str = "") -> str:
    """Say what was written: the first line."""
    bytes_ = sum(one.stat().st_size for one in files)
    names = " and ".join(map(str, files))
    parameters = several(trained.network.parameters, "parameter")
    return f"{names}: {parameters}, the {trained.which} of the run, {bytes_:,} bytes{more}"


def _checked(looked: list[str]) -> str:
    return f"checked with {EXAMPLES} random examples: {', '.join(looked)}"


WRITERS: dict[str, Callable[[TrainedModel, Asked], str]] = {
    ONNX: _onnx,
    SAFETENSORS: _safetensors,
    NPZ: _npz,
}
