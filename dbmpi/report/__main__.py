"""`python -m dbmpi.report`: see `report.command`."""

from dbmpi import imports

if __name__ == "__main__":
    imports.leave_out_working_directory()

import os
import sys

from dbmpi.report.command import main
from dbmpi.screen import reported, screens

with screens():
    imports.settle(os.environ)
    status = reported(main())
sys.exit(status)
