"""The installation, in a tree of its own: `make test-install`."""
