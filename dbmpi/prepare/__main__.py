"""`python -m dbmpi.prepare`: see `prepare.command`."""

import sys

from dbmpi.prepare.command import main
from dbmpi.screen import reported, screens

if __name__ == "__main__":  # processes that decode import this module too
    with screens():
        status = reported(main())
    sys.exit(status)
