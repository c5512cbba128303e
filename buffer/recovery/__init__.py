"""What becomes of damaged databases: found, moved aside, read without SQLite, and what they hold brought back."""
