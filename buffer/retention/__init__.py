"""Retention: old samples are downsampled, archived, and deleted when there is no space."""
