"""Predict with a trained model: `python -m dbmpi.predict MODEL DATA OUT`, or on many ranks by `mpirun -n N`.

See docs/predict.md. What a rank does stands in `inference.job` and `inference.prediction`.
"""

from dbmpi import imports

if __name__ == "__main__":
    imports.leave_out_working_directory()

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dbmpi.run.start.early import EARLY

if __name__ == "__main__":
    EARLY.listen()  # before other imports, which take a moment

from dbmpi.inference import job, options

if TYPE_CHECKING:
    from dbmpi.inference.sources import Source
    from dbmpi.inference.work import Crew
    from dbmpi.trained.model import TrainedModel

EXAMPLES = """\
DATA is HDF5, .npz, or a table (.csv, .tsv, .txt, each also with .gz) with a column for each input, row-major.
OUT ends with .h5, .npz or .csv, or is - for CSV on standard output; what is there is replaced when all
is computed. Rows are in the order of DATA.

  .csv        classes: class (its name), probability; labels: labels (the names of those that are said to be
              right, with ; between them); targets: y, or y0, y1, ...
  .h5, .npz   classes: class (its number), probability, probabilities (N, classes); labels: labels
              (N, labels), 1 or 0, and probabilities; targets: y (N,) or (N, targets); class_names, if there
              are any

examples:
  python -m dbmpi.predict runs/a new.h5 out.csv
  python -m dbmpi.predict runs/a table.csv - --inputs length,width --all | head
  mpirun -n 8 python -m dbmpi.predict runs/a new.h5 out.h5 --partitions 4
      2 replicas of 4 partitions, each rank with a part of the model; each row is computed once
"""


class Predict:
    """See `job.Task`."""

    name = "predict"

    def parse(self, argv: Sequence[str]) -> Namespace:
        """See `job.Task.parse`."""
        made = options.parser(self.name, "Write what a trained model says of rows.", EXAMPLES)
        add = made.add_argument
        add("data", metavar="DATA", help='the inputs, or "digits"; targets that are there are not looked at')
        add("out", metavar="OUT", help="file to write, or -")
        add("--inputs", metavar="NAME", help="data set or array of the inputs; of a table the columns, with "
            "commas between them, in the order in which the model has learned from them (all)")  # fmt: skip
        add("--all", action="store_true", help="CSV: also the probability of every class or label, each in a "
            "column of its name")  # fmt: skip
        return options.parse(made, argv)

    def look(self, given: Namespace, trained: "TrainedModel") -> "Source":
        """See `job.Task.look`."""
        from dbmpi.inference.choosing import Wanted, unlabelled
        from dbmpi.inference.output import check_place

        source = unlabelled(trained, Wanted(given.data, given.split, given.inputs, None, given.header))
        check_place(given.out, {"data": source.path, "model": trained.path})
        return source

    def work(self, given: Namespace, crew: "Crew") -> None:
        """See `job.Task.work`."""
        import time

        from dbmpi.inference.output import STDOUT, output
        from dbmpi.inference.prediction import predicted
        from dbmpi.inference.sources import ALL
        from dbmpi.text import several

        place = None if given.out == STDOUT else Path(given.out)
        start = time.monotonic()
        rows = predicted(crew, output(place, crew.trained, given.all))
        if crew.team.rank == 0:
            seconds = time.monotonic() - start
            split = crew.plan.source.split
            which = "" if split == ALL else f" of {split}"
            said = f"dbmpi: {several(rows, 'row')}{which} in {seconds:.1f} s ({rows / seconds:,.0f} rows/s)"
            where = "" if place is None else f": {place}"
            print(said + where, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    return job.main(Predict(), argv)


if __name__ == "__main__":
    EARLY.exit(main())
