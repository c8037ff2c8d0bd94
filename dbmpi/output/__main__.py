"""`python -m dbmpi.output` prints docs/records.md."""

from dbmpi import imports

if __name__ == "__main__":
    imports.leave_out_working_directory()

import sys

from dbmpi.output.records_page import page
from dbmpi.screen import reported, screens

with screens():
    sys.stdout.write(page())
    status = reported(0)
sys.exit(status)
