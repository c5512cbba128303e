"""A stream that plays on a recorded board, for `make demo`."""
