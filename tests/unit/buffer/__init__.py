"""Tests of the one writer."""
