"""Events from the kernel log and the journal."""
