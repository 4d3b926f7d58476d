"""The tests of heliobus; helpers that more than one file uses are in helpers.py."""
