"""The one writer: batches in from every producer, rows at rest in SQLite, leases out to the shipper."""
