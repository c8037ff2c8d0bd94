"""Kill ranks, fail calls, and see how runs end: `python scripts/chaos NAME [options]`; no name: list them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts import dispatch

if __name__ == "__main__":
    sys.exit(dispatch.run(Path(__file__).resolve().parent, sys.argv[1:]))
