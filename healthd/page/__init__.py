"""The page: the current state as JSON, history as plots, and the files that draw them in a browser."""
