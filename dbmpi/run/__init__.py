"""From the command line to the roles."""
