"""`python -m dbmpi.config` prints docs/configuration.md, `python -m dbmpi.config toml` the default file."""

from dbmpi import imports

if __name__ == "__main__":
    imports.leave_out_working_directory()

import sys

from dbmpi.config.page import default_toml, markdown
from dbmpi.screen import reported, screens

with screens():
    sys.stdout.write(default_toml() if sys.argv[1:] == ["toml"] else markdown())
    status = reported(0)
sys.exit(status)
