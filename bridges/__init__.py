"""Bridges: one folder per protocol, from a device's bytes to samples."""
