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

from dbmpi.run.early import EARLY

if __name__ == "__main__":
    EARLY.listen()  # before other imports, which take a moment

from dbmpi.inference import job, options

if TYPE_CHECKING:
    from dbmpi.inference.sources import StoredSource
    from dbmpi.inference.work import Crew
    from dbmpi.trained.model import TrainedModel

EXAMPLES = """\
examples:
  python -m dbmpi.evaluate runs/a
      the test set of the run's data: loss, accuracy, and a table by class
  python -m dbmpi.evaluate runs/a new.h5 --json
      other data, as JSON
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
        add(
            "data", metavar="DATA.h5", nargs="?", help="a data file (that of the run, and what was cut of it)"
        )
        add("--inputs", metavar="NAME", help="data set of the inputs in DATA.h5 (as in the run)")
        add("--targets", metavar="NAME", help="data set of the labels or targets in DATA.h5 (as in the run)")
        add("--json", action="store_true", help="print all figures as JSON, the whole confusion matrix too")
        return options.parse(made, argv)

    def look(self, given: Namespace, trained: "TrainedModel") -> "StoredSource":
        """See `job.Task.look`."""
        from dbmpi.inference.choosing import Wanted, labelled

        return labelled(trained, Wanted(given.data, given.split, given.inputs, given.targets))

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
