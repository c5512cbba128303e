"""The receiver's own statistics, off by default."""
