"""Checkpoints on disk: written by the shards, read on any shape; `python -m dbmpi.checkpoint` lists them."""
