"""`python -m dbmpi.export`: see `export.command`."""

from dbmpi import imports

if __name__ == "__main__":
    imports.leave_out_working_directory()

import os
import sys

from dbmpi.export.command import main
from dbmpi.screen import reported, screens

with screens():
    imports.settle(os.environ)
    status = reported(main())
sys.exit(status)
