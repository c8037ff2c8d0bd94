"""A trained model at work on rows: its figures, and what it says of each, in one process or on many ranks."""
