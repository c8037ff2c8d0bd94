"""Compare Downpour and Sandblaster: `python scripts/compare [options]`, see algorithms.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.compare.algorithms import main

if __name__ == "__main__":
    main(sys.argv[1:])
