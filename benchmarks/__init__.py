"""What measures speed and memory: `make bench`."""
