"""What this process does before its work begins, in words, for who shows it. Most processes show nothing."""

from typing import Protocol


class Shown(Protocol):
    """Who shows it."""

    def phase(self, text: str) -> None:
        """Something else is done from now on."""

    def asked(self, progress: str) -> None:
        """The configuration is known: `output.progress`."""

    def over(self) -> None:
        """The work begins, or the process ends."""


_shown: list[Shown] = []


def show_by(one: Shown) -> None:
    """Let phases be shown from now on, until `over`."""
    _shown.append(one)


def phase(text: str) -> None:
    """Say what is done from now on."""
    for one in _shown:
        one.phase(text)


def asked(progress: str) -> None:
    """Say what `output.progress` is."""
    for one in _shown:
        one.asked(progress)


def over() -> None:
    """Nothing is shown any more. A signal handler may call this too."""
    while _shown:
        _shown.pop().over()
