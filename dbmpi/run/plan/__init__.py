"""What is decided before the roles split, on rank 0 for all, and what a dry run shows of it."""
