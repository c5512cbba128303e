"""The shipper: leases samples from the buffer, uploads them as JSON lines, and reports the results to the buffer."""
