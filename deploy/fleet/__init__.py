"""Devices and their tokens at the server, and what a box gets for a one-time code; standard library only."""
