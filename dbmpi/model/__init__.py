"""Forward and backward of one partition of the network."""
