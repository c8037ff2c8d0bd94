"""The embedded data set: 1,797 handwritten digits of 8 x 8 grey values, with which a run needs no files.

Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, 1998, UCI Machine Learning
Repository, CC BY 4.0: the 1,797 images of the repository's test set. 36 images of each digit are held out
(360), the other 1,437 are for training. docs/data.md says how the file was made.
"""

from pathlib import Path

NAME = "digits"  # what `data.path` is set to


def path() -> Path:
    """Return where the embedded file lies. Local."""
    return Path(__file__).with_name("digits.h5")


def located(data_path: str | Path) -> Path:
    """Return the file that `data.path` means. Local.

    Parameters
    ----------
    data_path : str or Path
        "digits", or the path of a file; a leading "~" is the home directory. A file of one's own that is
        called "digits" is reached as "./digits".
    """
    return path() if data_path == NAME else Path(data_path).expanduser()
