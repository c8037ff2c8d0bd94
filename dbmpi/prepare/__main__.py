"""`python -m dbmpi.prepare`: see `prepare.command`."""

from dbmpi import imports

if __name__ == "__main__":  # processes that decode import this module too
    imports.leave_out_working_directory()

import os
import signal
import sys

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until `main` listens: without a traceback

from dbmpi.prepare.command import main
from dbmpi.screen import reported, screens

if __name__ == "__main__":
    with screens():
        imports.settle(os.environ)
        status = reported(main())
    sys.exit(status)
