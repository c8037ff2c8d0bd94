"""When something is due that is done every so many examples, or every so many seconds. Pure."""


class IntervalTrigger:
    """Comes due every so many examples, every so many seconds; zero means never.

    It is taken one at a time; what comes due meanwhile makes one more.

    Attributes
    ----------
    due
        Whether one is due.
    """

    def __init__(self, every_examples: float, every_s: float) -> None:
        self._every = every_examples, every_s
        self._next = list(self._every)
        self.due = False

    def start_at(self, examples: int, elapsed_s: float, due: bool = False) -> None:
        """Begin as if the run had come this far already, with one due or none."""
        self.update(examples, elapsed_s)
        self.due = due

    def update(self, examples: int, elapsed_s: float) -> None:
        """Note how far the run has come."""
        for i, now in enumerate((examples, elapsed_s)):
            if 0 < self._every[i] <= now and now >= self._next[i]:
                self.due = True
                self._next[i] = (now // self._every[i] + 1) * self._every[i]

    def take(self) -> bool:
        """Return whether one is due, and if so count it as taken."""
        due, self.due = self.due, False
        return due
