"""One partition of a model replica at work."""
