"""What may go when, and how much of it: decisions, nearly all of them pure."""
