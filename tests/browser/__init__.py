"""A real Chromium, driven by its own driver."""
