"""Evaluate a trained model: `python -m dbmpi.evaluate MODEL [DATA.h5]`, or on many ranks by `mpirun -n N`.

See docs/predict.md. What a rank does stands in `inference.job` and `inference.evaluation`.
"""

from dbmpi import imports

if __name__ == "__main__":
    imports.leave_out_working_directory()

import sys
from argparse import Namespace
from collections.abc import Sequence
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
examples:
  python -m dbmpi.evaluate runs/a
      the test set of the run's data: loss, accuracy, and a table by class
  python -m dbmpi.evaluate runs/a new.h5 --json
      other data, as JSON
  python -m dbmpi.evaluate runs/a new.csv --targets kind
      a table, with the name of the class of each row in its column kind
  mpirun -n 8 python -m dbmpi.evaluate runs/a new.h5 --partitions 4
      2 replicas of 4 partitions, each rank with a part of the model
"""


class Evaluate:
    """See `job.Task`."""

    name = "evaluate"

    def parse(self, argv: Sequence[str]) -> Namespace:
        """See `job.Task.parse`."""
        made = options.parser(
            self.name, "Evaluate a trained model on rows whose answers are known.", EXAMPLES
        )
        add = made.add_argument
        add("data", metavar="DATA", nargs="?", help="HDF5, or a table (.csv, .tsv, .txt, each also with .gz) "
            "(the data file of the run, and what was cut of it)")  # fmt: skip
        add("--inputs", metavar="NAME", help="data set of the inputs in DATA (as in the run); of a table the "
            "columns, with commas between them, in the order in which the model has learned from them (by "
            "their names, or all but the targets)")  # fmt: skip
        add("--targets", metavar="NAME", help="data set of the labels or targets in DATA (as in the run); of "
            "a table the column of the class, or the columns of all targets")  # fmt: skip
        add("--json", action="store_true", help="print all figures as JSON, the whole confusion matrix too")
        return options.parse(made, argv)

    def look(self, given: Namespace, trained: "TrainedModel") -> "Source":
        """See `job.Task.look`."""
        from dbmpi.inference.choosing import Wanted, labelled

        return labelled(trained, Wanted(given.data, given.split, given.inputs, given.targets, given.header))

    def work(self, given: Namespace, crew: "Crew") -> None:
        """See `job.Task.work`."""
        from dbmpi.inference.evaluation import evaluated

        found = evaluated(crew)
        if found is None:
            return
        from dbmpi.inference.report import json_text, report

        sys.stdout.write(json_text(found) if given.json else "\n".join(report(found)) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    return job.main(Evaluate(), argv)


if __name__ == "__main__":
    EARLY.exit(main())
