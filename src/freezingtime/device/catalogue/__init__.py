"""The catalogue: one TOML file per device, each figure with its source."""
