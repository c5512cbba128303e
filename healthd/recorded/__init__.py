"""What was recorded: series, events and sessions, read from the buffer's database while it is written."""
