"""`python -m dbmpi.trace`: see `trace.command`."""

from dbmpi import imports

if __name__ == "__main__":
    imports.leave_out_working_directory()

import os
import sys

from dbmpi.screen import reported, screens
from dbmpi.trace.command import main

with screens():
    imports.settle(os.environ)
    status = reported(main())
sys.exit(status)
