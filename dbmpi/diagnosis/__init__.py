"""What the records of a run say of its health, in words: docs/diagnosis.md lists questions and thresholds."""
