"""What collectors are made of: sources that several read, and the pieces of the large ones. None is a collector."""
