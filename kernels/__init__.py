"""Numba kernels of dbmpi: arrays in, arrays out; no MPI, no files, no configuration, no logging.

Each kernel has a plain NumPy twin in `kernels.reference.dense`. Letters: B minibatch, I units that go in,
O units that come out, P blocks of a split output layer, N examples. Arrays are C-contiguous and units-major,
`(units, B)`, float32 or float64 unless a docstring says otherwise.

Importing this package imports nothing else; `kernels.jit` is where Numba comes in.
"""

DBMPI_KERNELS = 1  # says that this package is dbmpi's, and not a stranger of the same common name
