"""Run dbmpi.train, and print each rank's largest memory: `peak RANK KILOBYTES SHARED` on standard error.

SHARED of them are memory that other ranks map too.
"""

import os
import re
import sys
from pathlib import Path

from dbmpi import train
from dbmpi.run.start import launch

if __name__ == "__main__":
    status = train.main(sys.argv[1:])
    found = dict(re.findall(r"(VmHWM|RssShmem):\s+(\d+) kB", Path("/proc/self/status").read_text()))
    rank = launch.env_rank(os.environ)
    print(f"peak {rank} {found['VmHWM']} {found['RssShmem']}", file=sys.stderr, flush=True)
    sys.exit(status)
