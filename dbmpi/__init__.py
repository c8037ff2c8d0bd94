"""dbmpi: the open DistBelief for CPU clusters (Dean et al., NIPS 2012), as an MPI program."""

import os
import sys

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, _ROOT)  # the kernels beside this package, whatever else of that name Python would find
try:
    import kernels
finally:
    sys.path.remove(_ROOT)

__version__ = "0.1.0"

if getattr(kernels, "DBMPI_KERNELS", None) != 1:
    raise ImportError(
        f"the package kernels at {getattr(kernels, '__file__', 'an unknown place')} is not dbmpi's: another "
        "distribution of that name is in the way; install dbmpi into a virtual environment of its own"
    )
