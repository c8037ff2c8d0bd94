"""What comes before MPI: command line, launcher, surroundings, signals; what keeps a run from beginning."""
