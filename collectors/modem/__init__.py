"""LTE and 5G modems."""
