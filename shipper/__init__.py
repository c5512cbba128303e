"""From the buffer to the server: leases in, JSON lines out, and what became of them back."""
