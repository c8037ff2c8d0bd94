"""`python -m dbmpi.checkpoint`: see `checkpoint.listing`."""

import sys

from dbmpi.checkpoint.listing import main
from dbmpi.screen import reported, screens

with screens():
    status = reported(main())
sys.exit(status)
