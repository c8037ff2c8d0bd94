#!/usr/bin/env python
"""Turn a folder of the four IDX files (MNIST and its relatives) into the HDF5 format of dbmpi.

    python scripts/prepare_idx.py DIR OUT.h5 [--gzip]

The same as `python -m dbmpi.prepare idx DIR OUT.h5 --keep-order --replace`, without the package installed.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dbmpi.prepare.command import main
from dbmpi.screen import reported, screens

if __name__ == "__main__":
    with screens():
        status = reported(main(["idx", *sys.argv[1:], "--keep-order", "--replace"]))
    sys.exit(status)
