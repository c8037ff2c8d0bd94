"""The command line of `python -m dbmpi.export`: a model, and the file that it is to become."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from dbmpi.errors import STATUS_INTERRUPTED, STATUS_OK, STATUS_USER_ERROR, UserError
from dbmpi.text import one_line

PROGRAM = "python -m dbmpi.export"
KINDS = """the name of OUT says what it becomes:
  .onnx         ONNX: inputs as the data file has them to logits and probabilities, or values
  .safetensors  the tensors, with configuration, scaling and class names as metadata; dbmpi reads it back
  .npz          the same for NumPy alone"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status: 0, 2 for wrong input, 130 when interrupted."""
    given = _parse(argv)
    for one in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(one) != signal.SIG_IGN:  # as by nohup
            signal.signal(one, signal.default_int_handler)
    try:
        from dbmpi.export.writers import Asked, export

        asked = Asked(given.out, given.torch, given.external_data, given.replace)
        print(export(given.model, asked))
    except UserError as error:
        print(f"dbmpi: error: {one_line(error)}", file=sys.stderr)
        return STATUS_USER_ERROR
    except KeyboardInterrupt:
        print(f"dbmpi: interrupted; {given.out} is not written", file=sys.stderr)
        return STATUS_INTERRUPTED
    return STATUS_OK


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Write a trained model as a file for other programs.",
        epilog=KINDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        type=Path,
        help="a run directory, a model.h5, a checkpoint (RUN/checkpoints/000042) or a .safetensors file",
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="the file to write")
    parser.add_argument(
        "--torch",
        metavar="MODULE.py",
        type=Path,
        help="with .safetensors: also write a module of plain PyTorch that loads it, without dbmpi",
    )
    parser.add_argument(
        "--external-data",
        action="store_true",
        help="with .onnx: put the parameters in OUT.data, as is done above 2 GiB in any case",
    )
    parser.add_argument("--replace", action="store_true", help="replace files that are there")
    return parser.parse_args(argv)
