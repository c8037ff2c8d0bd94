"""A terminal of one line."""


class FakeTerminal:
    """See `dbmpi.output.terminal.Watched`. `line` is what one sees, `written` all that came."""

    def __init__(self, columns: int, seen: bool = True) -> None:
        self.wide, self.seen, self.written = columns, seen, ""

    def watched(self) -> bool:
        return self.seen

    def columns(self) -> int:
        return self.wide

    def write(self, text: str) -> None:
        self.written += text

    @property
    def line(self) -> str:
        return self.written.rpartition("\r\x1b[K")[2].partition("\x1b")[0]
