"""A trained model: read from any file that holds one, and computing."""
