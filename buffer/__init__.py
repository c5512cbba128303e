"""The buffer: receive batches from every producer, store them in SQLite, lease pending samples to the shipper."""
