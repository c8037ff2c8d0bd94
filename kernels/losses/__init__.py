"""The kernels of the losses."""
