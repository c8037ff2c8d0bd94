"""What a run has left in its directory, read again: while it goes on, when it has failed, of any version."""
