"""The names of the splits, in a module of its own, so that the stages can depend on it."""

SPLITS = ("train", "validation", "test")
"""In their order, which decides how splits are numbered and listed."""
