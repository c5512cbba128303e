"""From the buffer to the server: leases in, JSON lines out, and what the server said of them back."""
