"""Who may write in a run directory: one job at a time, and how another one takes its place."""
