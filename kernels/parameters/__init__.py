"""The kernels on slices of the parameter vector: update rules, linear algebra, compression."""
