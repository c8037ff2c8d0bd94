"""What a run leaves in its directory, and what it shows while it goes on."""
