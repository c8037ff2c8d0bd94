"""The examples: what a data file holds, and in which order it is read."""
