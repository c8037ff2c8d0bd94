"""The commands of docs/prepare.md, each as written: from files to a trained, evaluated model."""

import json
import re
import shlex
import struct
import subprocess
import sys
import wave

import numpy as np
import pytest

from tests import ROOT

PAGE = (ROOT / "docs" / "prepare.md").read_text()
BLOCKS = dict(re.findall(r"^## (\w+)\n+```sh\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL))
RNG = np.random.default_rng(1)


def images(folder):
    Image = pytest.importorskip("PIL.Image")
    for number in range(300):
        for name, bright in (("left", np.s_[:, :24]), ("right", np.s_[:, 24:])):
            (folder / "photos" / name).mkdir(parents=True, exist_ok=True)
            pixels = RNG.integers(0, 100, (40, 48, 3), np.uint8)
            pixels[bright] += 100
            Image.fromarray(pixels).save(folder / "photos" / name / f"{number}.jpg")


def table(folder):
    size, colour = RNG.normal(5, 2, 300), RNG.choice(["red", "blue"], 300)
    kind = np.where(size + 2 * (colour == "red") > 6, "large", "small")
    rows = [f"{a:.3f},{b},{c}" for a, b, c in zip(size, colour, kind, strict=True)]
    (folder / "flowers.csv").write_text("\n".join(["size,colour,kind", *rows]))


def speech(folder):
    (folder / "recordings").mkdir()
    time_s = np.arange(2400) / 8000
    for number in range(40):
        for name, hz in (("low", 300), ("high", 2000)):
            with wave.open(str(folder / "recordings" / f"{name}_x_{number}.wav"), "wb") as file:
                file.setparams((1, 2, 8000, 0, "NONE", ""))
                tone = np.sin(2 * np.pi * hz * (1 + 2 * time_s) * time_s) + RNG.normal(size=2400) / 9
                file.writeframes((6000 * tone).astype(np.int16).tobytes())


def arrays(folder):
    x = RNG.normal(size=(400, 5)).astype(np.float32)
    y = np.where(x[:, 0] > 0, "yes", "no")
    np.savez(folder / "arrays.npz", x_train=x[:300], y_train=y[:300], x_test=x[300:], y_test=y[300:])


def idx(folder):
    (folder / "mnist").mkdir()
    for prefix, rows in (("train", 3000), ("t10k", 300)):
        labels = RNG.integers(0, 10, rows, np.uint8)
        pixels = RNG.integers(0, 100, (rows, 28, 28), np.uint8)
        pixels[np.arange(28) // 2 == labels[:, None] + 2] += 150  # two bright rows, which say the class
        for name, values in (("images", pixels), ("labels", labels)):
            header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
            (folder / "mnist" / f"{prefix}-{name}-idx{values.ndim}-ubyte").write_bytes(
                header + values.tobytes()
            )


MAKERS = {"Images": images, "Tables": table, "Speech": speech, "Arrays": arrays, "IDX": idx}


def test_every_section_is_tried():
    assert BLOCKS.keys() == MAKERS.keys()


@pytest.mark.parametrize("section", MAKERS)
def test_the_commands_lead_to_a_model(tmp_path, section):
    MAKERS[section](tmp_path)
    for line in BLOCKS[section].splitlines():
        command = [sys.executable, *shlex.split(line)[1:]]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
    (summary,) = (tmp_path / "runs").glob("*/summary.json")
    least = {"IDX": 0.3}.get(section, 0.75)
    assert json.loads(summary.read_text())["test_accuracy"] >= least
