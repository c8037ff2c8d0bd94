"""A page of what a run did: `python -m dbmpi.report`."""
