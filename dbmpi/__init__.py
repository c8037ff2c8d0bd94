"""dbmpi: the open DistBelief for CPU clusters (Dean et al., NIPS 2012), as an MPI program."""

__version__ = "0.1.0"
