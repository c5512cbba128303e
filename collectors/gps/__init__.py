"""Collector `gps`: the position, off by default."""
