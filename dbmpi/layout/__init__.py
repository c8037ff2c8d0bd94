"""Who owns what: ranks, layers, tensors, tiles and pieces. Pure arithmetic, without MPI."""
