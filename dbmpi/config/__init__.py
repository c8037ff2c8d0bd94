"""What a run is told: the sections and keys of the configuration, from the TOML file to checked values."""
