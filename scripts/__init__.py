"""What people and tests run in this repository, and no installation has."""
