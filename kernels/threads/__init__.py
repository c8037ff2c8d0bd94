"""The threads that help to compute: one pool for kernels and matrix products."""
