"""Sinks: one folder per destination, from samples to a database, a page, an alert."""
