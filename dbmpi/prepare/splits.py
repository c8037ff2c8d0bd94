"""What others call the splits: train, validation and test."""

from collections.abc import Iterable
from pathlib import Path

from dbmpi.errors import UserError
from dbmpi.prepare.source import SPLITS, TEST, TRAIN, VALIDATION

WORDS = {
    TRAIN: ("train", "training"),
    VALIDATION: ("validation", "valid", "val", "dev"),
    TEST: ("test", "testing"),
}
SPLIT_OF = {word: split for split, words in WORDS.items() for word in words}


def split_of(word: str) -> str | None:
    """Return the split that a word stands for, whatever its case; None for another word."""
    return SPLIT_OF.get(word.strip().lower())


def splits_of(words: Iterable[str], where: str) -> dict[str, str]:
    """Return the word that stands for each split, of those that do. Raises UserError where two do."""
    found: dict[str, str] = {}
    for word in words:
        if (split := split_of(word)) is not None and found.setdefault(split, word) != word:
            raise UserError(f"{where}: has {found[split]} and {word}, which both mean {split}; rename one")
    return {split: found[split] for split in SPLITS if split in found}


def folders_of(folder: Path) -> dict[str, Path]:
    """Return the folder of each split in a folder; where none is for training, all of it is."""
    names = splits_of(sorted(one.name for one in folder.iterdir() if one.is_dir()), str(folder))
    return {split: folder / name for split, name in names.items()} if TRAIN in names else {TRAIN: folder}
