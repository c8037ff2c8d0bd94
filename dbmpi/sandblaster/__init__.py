"""The batch method: its passes, and the optimizer whose vectors stay on the shards."""
