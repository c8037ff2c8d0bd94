"""dbmpi: the open DistBelief for CPU clusters (Dean et al., NIPS 2012), as an MPI program."""

import kernels

__version__ = "0.1.0"

if getattr(kernels, "DBMPI_KERNELS", None) != 1:
    raise ImportError(
        f"the package kernels at {getattr(kernels, '__file__', 'an unknown place')} is not dbmpi's: another "
        "distribution of that name is in the way; install dbmpi into a virtual environment of its own"
    )
