"""Runs jobs, blind to what they do."""
