"""How far an evaluation or a prediction is."""

from dbmpi import phases
from dbmpi.inference import rows_told
from dbmpi.inference.rows_told import RowsTold


class Heard:
    """See `phases.Shown`."""

    def __init__(self) -> None:
        self.text = ""

    def phase(self, text: str) -> None:
        self.text = text

    def asked(self, progress: str) -> None:
        pass

    def over(self) -> None:
        pass


def told(monkeypatch, total: int | None, *rows: int) -> str:
    """Return what is said after blocks of rows, one a second."""
    now = iter(range(100))
    monkeypatch.setattr(rows_told.time, "monotonic", lambda: next(now))
    heard = Heard()
    phases.show_by(heard)
    made = RowsTold(total)
    for some in rows:
        made.more(some)
    phases.over()
    return heard.text


def test_what_is_done_and_what_is_left(monkeypatch):
    assert told(monkeypatch, 4000, 500, 500) == "1,000 of 4,000 rows, 500 rows/s, 6 s left"


def test_where_nobody_knows_how_many_there_are(monkeypatch):
    assert told(monkeypatch, None, 500, 500) == "1,000 rows, 500 rows/s"


def test_there_are_never_more_than_all(monkeypatch):
    assert told(monkeypatch, 700, 500, 500) == "700 of 700 rows, 350 rows/s, 0 s left"
