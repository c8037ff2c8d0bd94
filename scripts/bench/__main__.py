"""Measure dbmpi: `python scripts/bench [PART ...] [options]`, see command.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dbmpi.screen import reported, screens
from scripts.bench.command import main

if __name__ == "__main__":
    with screens():
        status = reported(main(sys.argv[1:]))
    sys.exit(status)
