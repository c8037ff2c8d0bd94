"""`python -m dbmpi.prepare`: from files of many kinds to a data file of docs/data.md."""
