"""Time and memory, measured on real processes against limits.toml: `make bench`."""
