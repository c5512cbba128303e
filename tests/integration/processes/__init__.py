"""One process at a time, as supervisord starts it."""
