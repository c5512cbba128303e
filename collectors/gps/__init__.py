"""Location, off by default."""
