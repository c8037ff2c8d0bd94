"""The coordinator: who does what, when to evaluate, to save and to stop."""
