"""Plain NumPy twins of the kernels: what the tests hold them to."""
