"""A shipper whose loop a test turns, between a buffer and a server on real sockets."""
