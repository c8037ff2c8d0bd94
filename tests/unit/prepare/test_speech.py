"""`prepare speech`: features as Kaldi's, frames with their neighbours, and no recording in two splits."""

import wave

import h5py
import numpy as np
import pytest

from dbmpi.prepare.command import main
from dbmpi.prepare.filterbank import FilterBank, stacked

RATE = 8000


def tone(hz, seconds, noise=1):
    time = np.arange(int(RATE * seconds)) / RATE
    return (
        8000 * np.sin(2 * np.pi * hz * time) + noise * np.random.default_rng(hz).normal(size=len(time))
    ).astype(np.int16)


def write(path, signal, rate=RATE, channels=1):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(signal.tobytes())


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "wav").mkdir()
    for number in range(10):
        for name, hz in (("low", 300), ("high", 2000)):
            write(
                tmp_path / "wav" / f"{name}_speaker{number % 3}_{number}.wav",
                tone(hz + number, 0.2 + 0.01 * number),
            )
    return tmp_path / "wav"


@pytest.fixture
def prepare(tmp_path, capsys):
    def run(folder, *options):
        status = main(["speech", str(folder), str(tmp_path / "out.h5"), "--replace", "--jobs", "1", *options])
        return status, capsys.readouterr()

    run.out = tmp_path / "out.h5"
    return run


@pytest.mark.parametrize("rate", [8000, 16000, 11025])
def test_energies_are_those_of_kaldi(rate):
    kaldi = pytest.importorskip("kaldi_native_fbank")
    signal = np.concatenate([tone(440, 0.3), tone(1500, 0.2, 500), np.zeros(500, np.int16)])
    options = kaldi.FbankOptions()
    options.frame_opts.samp_freq, options.frame_opts.dither, options.mel_opts.num_bins = rate, 0.0, 40
    reference = kaldi.OnlineFbank(options)
    reference.accept_waveform(rate, signal.astype(np.float32).tolist())
    reference.input_finished()
    expected = np.array([reference.get_frame(number) for number in range(reference.num_frames_ready)])
    found = FilterBank(rate).energies(signal)
    assert found.shape == expected.shape and np.abs(found - expected).max() < 2e-3


def test_energies_are_what_kaldi_once_gave():
    """By kaldi-native-fbank 1.23, for where it is not installed."""
    time = np.arange(2400)
    tones = 8000 * np.sin(2 * np.pi * (300 + time / 8) * time / RATE) + 300 * np.cos(time * time)
    found = FilterBank(RATE).energies(np.rint(tones).astype(np.int16))
    expected = [
        [10.1461, 14.8272, 16.2384, 18.3031],
        [9.9040, 20.3438, 16.1587, 18.2035],
        [9.4262, 14.4793, 16.1473, 18.2175],
    ]
    assert found.shape == (28, 40)
    assert np.allclose(found[[0, 13, 27]][:, [0, 10, 20, 39]], expected, atol=2e-3)


def test_frames_with_their_neighbours():
    frames = np.arange(12, dtype=np.float32).reshape(6, 2)
    found = np.concatenate([*stacked(frames, 1, rows=2)])
    assert found[0].tolist() == [0, 1, 0, 1, 2, 3] and found[3].tolist() == [4, 5, 6, 7, 8, 9]


def test_recordings_by_their_names(prepare, folder):
    options = "--names", "{label}_{}_{}", "--test-names", "*_[0-1]", "--states", "3"
    assert prepare(folder, *options)[0] == 0
    frames = [FilterBank(RATE).frames(int(RATE * (0.2 + 0.01 * number))) for number in range(10)]
    with h5py.File(prepare.out) as file:
        assert file["train/x"].shape == (2 * sum(frames[2:]), 440) and len(file["test/x"]) == 2 * sum(
            frames[:2]
        )
        names = file["train/y"].attrs["class_names"].tolist()
        assert names == ["high 1/3", "high 2/3", "high 3/3", "low 1/3", "low 2/3", "low 3/3"]
        counts = np.bincount(file["train/y"][()])
        assert counts.min() >= 0.8 * counts.max() and counts[:3].sum() == counts[3:].sum()


def test_speakers_are_in_one_split(prepare, folder):
    assert prepare(folder, "--names", "{label}_{group}_{}", "--test-fraction", "0.3")[0] == 0
    with h5py.File(prepare.out) as file:
        frames = [FilterBank(RATE).frames(int(RATE * (0.2 + 0.01 * number))) for number in range(10)]
        of_speaker = [2 * sum(frames[speaker::3]) for speaker in range(3)]
        assert len(file["test/x"]) in of_speaker


def test_labels_of_frames_and_a_table(prepare, folder, tmp_path):
    (tmp_path / "labels").mkdir()
    for path in folder.iterdir():
        with wave.open(str(path)) as file:
            count = FilterBank(RATE).frames(file.getnframes())
        (tmp_path / "labels" / f"{path.stem}.txt").write_text(
            " ".join(["sil"] * 5 + [path.stem[:3]] * (count - 5))
        )
    assert prepare(folder, "--frame-labels", str(tmp_path / "labels"))[0] == 0
    with h5py.File(prepare.out) as file:
        assert file["train/y"].attrs["class_names"].tolist() == ["hig", "low", "sil"]
    table = tmp_path / "list.csv"
    table.write_text(
        "path,label,group\n"
        + "\n".join(f"{path},{path.stem[:3]},{number}" for number, path in enumerate(folder.iterdir()))
    )
    assert prepare(table)[0] == 0


def other_rate(folder):
    write(folder / "low_x_1.wav", tone(300, 0.3), rate=16000)


def stereo(folder):
    write(folder / "low_x_1.wav", tone(300, 0.3), channels=2)


def cut(folder):
    path = folder / "low_speaker1_1.wav"
    path.write_bytes(path.read_bytes()[:-1000])


def text(folder):
    (folder / "low_x_1.wav").write_text("no sound")


def short(folder):
    write(folder / "low_x_1.wav", tone(300, 0.01))


def other_name(folder):
    write(folder / "low.wav", tone(300, 0.3))


def only_in_test(folder):
    write(folder / "mid_x_0.wav", tone(900, 0.3))


@pytest.mark.parametrize(
    "spoil, said",
    [
        (other_rate, "has 16000 samples a second"),
        (stereo, "has 2 channels"),
        (cut, "ends after"),
        (text, "cannot be read as a WAV"),
        (short, "is shorter than one frame"),
        (other_name, "its name is not as"),
        (only_in_test, 'no recording to train with has the label "mid"'),
    ],
)
def test_what_is_wrong_is_said_in_one_line(prepare, folder, spoil, said):
    spoil(folder)
    status, printed = prepare(folder, "--names", "{label}_{}_{}", "--test-names", "*_0")
    assert status == 2 and said in printed.err and printed.err.count("\n") == 1, printed.err
    assert not prepare.out.exists()
