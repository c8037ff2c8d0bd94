"""What a user sees of a run that an estimator has begun: nothing, or a bar and lines."""

import sys
import warnings
from dataclasses import dataclass, field
from typing import Any, Protocol

FORMAT = "{percentage:3.0f}%|{bar}| {desc}"
ERROR, WARNING, SAID = "dbmpi: error: ", "dbmpi: warning: ", "dbmpi: "


class Shown(Protocol):
    """Shows what a run says; the twins differ in how much."""

    def line(self, text: str) -> None:
        """Show a line that stays."""

    def progress(self, share: float, text: str) -> None:
        """Show how much of the run is done, 0 to 1, and what there is to say of it."""

    def close(self) -> None:
        """The run is over."""


class Nothing:
    """Shows nothing. See `Shown`."""

    def line(self, text: str) -> None:
        """See `Shown.line`."""

    def progress(self, share: float, text: str) -> None:
        """See `Shown.progress`."""

    def close(self) -> None:
        """See `Shown.close`."""


class Lines:
    """Shows lines, and no bar. See `Shown`."""

    def line(self, text: str) -> None:
        """See `Shown.line`."""
        print(text, file=sys.stdout, flush=True)

    def progress(self, share: float, text: str) -> None:
        """See `Shown.progress`."""
        self.line(f"{SAID}{share:4.0%}, {text}")

    def close(self) -> None:
        """See `Shown.close`."""


class Bar:
    """Shows a bar of tqdm, in a notebook that of the notebook, and lines above it. See `Shown`."""

    def __init__(self, tqdm: Any) -> None:
        self._tqdm, self._bar = tqdm, tqdm(total=1.0, bar_format=FORMAT, leave=False)

    def line(self, text: str) -> None:
        """See `Shown.line`."""
        self._tqdm.write(text)

    def progress(self, share: float, text: str) -> None:
        """See `Shown.progress`."""
        self._bar.n = share
        self._bar.set_description_str(text)

    def close(self) -> None:
        """See `Shown.close`."""
        self._bar.close()


def make(verbose: bool) -> Shown:
    """Return what shows a run: with `verbose` a bar where tqdm is installed, and else lines."""
    if not verbose:
        return Nothing()
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return Lines()
    return Bar(tqdm)


@dataclass
class Said:
    """Sorts what a run says: lines are shown, warnings are warned of, errors are kept.

    Attributes
    ----------
    errors
        Without the word that this is one.
    last
        The last lines, whatever they are.
    """

    shown: Shown
    errors: list[str] = field(default_factory=list)
    last: list[str] = field(default_factory=list)

    def take(self, text: str) -> None:
        """Take a line in."""
        self.last = [*self.last[-9:], text]
        if text.startswith(ERROR):
            self.errors.append(text.removeprefix(ERROR))
        elif text.startswith(WARNING):
            warnings.warn(text.removeprefix(WARNING), RuntimeWarning, stacklevel=2)
        else:
            self.shown.line(text)
