"""What becomes of old samples: folded into aggregates, written to archives, given up when there is no room."""
