"""What people see: one JSON picture of now, history as plots, and the files that draw them in a browser."""
