"""Run dbmpi.train, and print each rank's largest memory: `peak RANK KILOBYTES` on standard error."""

import os
import resource
import sys

from dbmpi import train
from dbmpi.run import launch

if __name__ == "__main__":
    status = train.main(sys.argv[1:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak {launch.env_rank(os.environ)} {peak}", file=sys.stderr, flush=True)
    sys.exit(status)
