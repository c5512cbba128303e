"""Mutation testing of the modules that decide delivery: each small change to one has to fail a test of it."""
