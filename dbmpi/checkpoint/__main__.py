"""`python -m dbmpi.checkpoint`: see `checkpoint.listing`."""

import sys

from dbmpi.checkpoint.listing import main

sys.exit(main())
