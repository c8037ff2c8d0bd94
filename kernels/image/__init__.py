"""Compiled kernels as files, loaded without Numba: one for each kernel and types of its arguments."""
