"""Read recorded series, events and sessions from the buffer's database while it is written."""
