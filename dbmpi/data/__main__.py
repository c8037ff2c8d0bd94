"""`python -m dbmpi.data`: see `data.report`."""

import sys

from dbmpi.data.report import main
from dbmpi.screen import reported, screens

with screens():
    status = reported(main())
sys.exit(status)
