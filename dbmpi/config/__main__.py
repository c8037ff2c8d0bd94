"""`python -m dbmpi.config` prints docs/configuration.md, `python -m dbmpi.config toml` the default file."""

import sys

from dbmpi.config.page import default_toml, markdown

sys.stdout.write(default_toml() if sys.argv[1:] == ["toml"] else markdown())
