"""`python -m dbmpi.trace`: the trace of a run as a file for ui.perfetto.dev, and where its time went."""
