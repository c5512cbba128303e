"""Collector `events`: events from the kernel log and the journal."""
