"""The report of one stream, or of the minutes around a moment, out of the buffer's database."""
