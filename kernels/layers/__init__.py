"""The kernels of each layer type, forward and backward."""
