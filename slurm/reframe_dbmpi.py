"""Checks of dbmpi on a site, for ReFrame 4.10 or newer (https://reframe-hpc.readthedocs.io).

    reframe -C SITE.py -c slurm/reframe_dbmpi.py --list
    reframe -C SITE.py -c slurm/reframe_dbmpi.py --run
    reframe -C SITE.py -c slurm/reframe_dbmpi.py --run -S python=/path/to/env/bin/python -S modules=openmpi

SITE.py is the site's configuration, whose launchers start the ranks. Each check trains the embedded digits,
needs no network, and looks at the accuracy, which does not depend on the machine, and at the speed, for which
the site may set a reference. `-n '%ranks=8'` and the like choose among them.
"""

import reframe as rfm
import reframe.utility.sanity as sn
from reframe.core.builtins import parameter, performance_function, run_before, sanity_function, variable


class Training(rfm.RunOnlyRegressionTest):
    """A run of `python -m dbmpi.train` on the digits; its last lines say how good it is."""

    valid_systems = ["*"]
    valid_prog_environs = ["*"]
    python = variable(str, value="python3")
    least_accuracy = variable(float, value=0.93)
    settings = variable(str, value="")
    num_tasks_per_node = None
    time_limit = "5m"

    @run_before("run")
    def command(self):
        """Give the words of the program, which the launcher of the site starts on all ranks."""
        self.executable = self.python
        words = f"-m dbmpi.train --run-dir run --set output.progress=none {self.settings}"
        self.executable_opts = words.split()

    @sanity_function
    def learned(self):
        """The run has come to its end, with the ranks that were asked for, and has learned."""
        ranks = f"{self.num_tasks} rank{'s' if self.num_tasks > 1 else ''} = "
        accuracy = sn.extractsingle(r"test loss \S+, accuracy (\S+)%", self.stdout, 1, float)
        return sn.all(
            [
                sn.assert_found(f"dbmpi: {ranks}", self.stdout),
                sn.assert_ge(accuracy, 100 * self.least_accuracy),
            ]
        )

    @performance_function("examples/s")
    def speed(self):
        """Examples learned from in a second, by all replicas together."""
        return sn.extractsingle(
            r"\(([\d,]+) examples/s\)", self.stdout, 1, lambda text: float(text.replace(",", ""))
        )


@rfm.simple_test
class Serial(Training):
    """One process, without MPI."""

    descr = "dbmpi: one process"
    num_tasks = 1
    settings = "train.epochs=10"


@rfm.simple_test
class Downpour(Training):
    """Asynchronous replicas, on one node or more."""

    descr = "dbmpi: Downpour"
    ranks = parameter([4, 8, 32])
    settings = "train.epochs=20"

    @run_before("run")
    def size(self):
        """Ask for the ranks."""
        self.num_tasks = self.ranks


@rfm.simple_test
class Partitions(Downpour):
    """Replicas that are split over two ranks."""

    descr = "dbmpi: Downpour, two partitions a replica"
    ranks = parameter([6])
    settings = "train.epochs=20 cluster.partitions=2"


@rfm.simple_test
class Sandblaster(Downpour):
    """L-BFGS."""

    descr = "dbmpi: Sandblaster"
    ranks = parameter([4])
    settings = "train.algorithm=sandblaster sandblaster.iterations=30 model.l2=1e-3"
