"""Delivery, seen from the buffer: what is handed to the shipper, what became of it, whether the server still has it."""
