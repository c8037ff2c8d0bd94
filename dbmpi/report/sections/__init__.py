"""The sections of the page, a module each: what it shows of a run, or of several. Pure."""
