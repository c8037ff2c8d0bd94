"""`python -m dbmpi.data`: see `data.report`."""

from dbmpi import imports

if __name__ == "__main__":
    imports.leave_out_working_directory()

import os
import signal
import sys

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # it only reads: Ctrl-C ends it, without a traceback

from dbmpi.data.report import main
from dbmpi.screen import reported, screens

with screens():
    imports.settle(os.environ)
    status = reported(main())
sys.exit(status)
