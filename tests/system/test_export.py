"""The commands of docs/export.md, each as written: from a folder of images to files that others run."""

import json
import re
import shlex
import subprocess
import sys
from configparser import ConfigParser
from importlib.util import find_spec

import numpy as np
import pytest

from tests import ROOT

PAGE = (ROOT / "docs" / "export.md").read_text()
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
INSTALLING = "python -m venv", ". ", "pip install"  # tried by hand: it takes minutes
NEEDED = {
    "onnxruntime": "onnxruntime",
    "photos.onnx": "onnx",
    "photos.safetensors": "safetensors",
    "torch": "torch",
}


def photos(folder):
    """Make two classes that differ by which half is bright."""
    Image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(1)
    for name, bright in (("left", np.s_[:, :24]), ("right", np.s_[:, 24:])):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(80):
            pixels = rng.integers(0, 120, (40, 48, 3), np.uint8)
            pixels[bright] += 40
            Image.fromarray(pixels).save(folder / "photos" / name / f"{number}.jpg")


def run(folder, *arguments):
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_from_images_to_onnx_and_torch(tmp_path):
    photos(tmp_path)
    told = []
    for kind, block in BLOCKS:
        missing = [name for word, name in NEEDED.items() if word in block and not find_spec(name)]
        if missing and kind == "python":
            continue
        if kind == "python":
            (tmp_path / "block.py").write_text(block)
            told.append(run(tmp_path, "block.py"))
        for line in block.splitlines() if kind == "sh" else ():
            if not line.startswith(INSTALLING) and not (missing and "export" in line):
                run(tmp_path, *shlex.split(line)[1:])
    summary = json.loads((tmp_path / "runs" / "photos" / "summary.json").read_text())
    assert summary["test_accuracy"] > 0.8
    if find_spec("onnxruntime") and find_spec("onnx"):
        assert told[0].startswith("left ")
    if find_spec("torch") and find_spec("safetensors"):
        assert float(told[-1]) == pytest.approx(summary["test_accuracy"], abs=1e-4)


def test_the_extras_that_are_installed_exist():
    (line,) = re.findall(r"^pip install '\.\[(.*)\]'", PAGE, re.MULTILINE)
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert set(line.split(",")) <= setup["options.extras_require"].keys()
