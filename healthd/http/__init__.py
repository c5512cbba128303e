"""The HTTP server: connections, who may read, and the answer to each path."""
