"""The kind of input that is speech."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dbmpi.prepare.kind import Kind, add_jobs, add_listing, jobs, listing_of, whole

if TYPE_CHECKING:
    from dbmpi.prepare.source import Source

MOST_STATES, MOST_CONTEXT = 100, 1000


def _add_speech(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        metavar="DIR",
        type=Path,
        help="folder of WAV files, in a folder for each label or not; or a CSV of their paths and labels",
    )
    parser.add_argument(
        "--names",
        metavar="PATTERN",
        help="of the files, as '{label}_{group}_{}' or '{label}/{group}_{}': {} is any text; of one group "
        "stay in one split (the folder is the label)",
    )
    parser.add_argument(
        "--test-names", metavar="PATTERN", help="of the files of the split test, as '*_[0-4]'"
    )
    parser.add_argument(
        "--frame-labels",
        metavar="DIR",
        type=Path,
        help="folder of NAME.txt for each NAME.wav: a label for each frame",
    )
    parser.add_argument(
        "--states",
        metavar="N",
        type=whole(1, MOST_STATES),
        default=1,
        help="parts of a recording that are classes of their own (1)",
    )
    parser.add_argument(
        "--context",
        metavar="N",
        type=whole(0, MOST_CONTEXT),
        default=5,
        help="frames on either side that are inputs too (5)",
    )
    add_listing(parser, "recording")
    add_jobs(parser)


def _speech(given: argparse.Namespace) -> "Source":
    from dbmpi.prepare.recordings import by_names, by_table
    from dbmpi.prepare.speech import SpeechSource

    if given.files.is_file():
        recordings = by_table(given.files, listing_of(given))
    else:
        recordings = by_names(given.files, given.names, given.test_names)
    return SpeechSource(
        recordings, given.context, given.states, given.frame_labels, jobs(given), [given.files]
    )


SPEECH = Kind(
    "recordings of speech (WAV), a label for each or for each frame",
    "Frames of 25 ms every 10 ms, 40 log mel energies each; with 5 frames on either side 440 inputs.\n"
    "All frames of a recording are in one split.",
    "recordings/ digits.h5 --names '{label}_{}_{}' --test-names '*_[0-4]' --states 3",
    _add_speech,
    _speech,
)
