"""What travels between ranks, how a rank waits, and how a run fails."""
