"""Numba kernels of dbmpi: arrays in, arrays out; no MPI, no files, no configuration, no logging.

Each kernel has a plain NumPy twin of the same name and arguments in `kernels.reference`: `dense` and
`spatial` for the layers, `losses`, `parameters`. A module uses only what is below it: `jit` (the only place
of compiler options), `llvm` (vector code), `elementary` (exp and tanh), then `layers`, `losses` and
`parameters`.

Capital letters at the end of a name are the dimensions of an array, as in w_OI. B examples of a minibatch, I
input units, O output units, P partitions of an output layer, N examples of a data set; the modules of spatial
layers and of vectors name theirs at their head. Dense arrays are `(units, B)`, C-contiguous, float32 or
float64 unless a docstring says otherwise.

Importing this package imports nothing else; `kernels.jit` is where Numba comes in.
"""

DBMPI_KERNELS = 1  # says that this package is dbmpi's, and not a stranger of the same common name
